package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
)

func TestRackOf(t *testing.T) {
	for _, x := range []struct {
		uris string // separated by spaces
		rack string // empty: refused
	}{
		{"rackreach://rack/r1", "r1"},
		{"rackreach://rack/r1 rackreach://generation/7", "r1"},
		{"spiffe://x/y rackreach://rack/r1", "r1"},
		{"", ""},
		{"spiffe://rack/r1", ""},
		{"rackreach://rack/r1 rackreach://rack/r2", ""},
		{"rackreach://rack/r1 rackreach://rack/r1", ""},
		{"rackreach://rack/", ""},
		{"rackreach://rack", ""},
		{"rackreach:r1", ""},
		{"rackreach:///r1", ""},
		{"rackreach://rack/R1", ""},
		{"rackreach://rack/r1/", ""},
		{"rackreach://rack//r1", ""},
		{"rackreach://rack/r1/../r2", ""},
		{"rackreach://rack/%72%31", ""},
		{"rackreach://rack/r1%00", ""},
		{"rackreach://rack/r1%2Fx", ""},
		{"rackreach://rack/r%C3%A9", ""},
		{"rackreach://rack/-r1", ""},
		{"rackreach://rack/r1?x=1", ""},
		{"rackreach://rack/r1?", ""},
		{"rackreach://rack/r1#x", ""},
		{"rackreach://u@rack/r1", ""},
		{"rackreach://rack:1/r1", ""},
		{"rackreach://admin/r1", ""},
		{"rackreach://rack/r1 rackreach://admin/x", ""},
		{"rackreach://rack/r1 rackreach://generation/01", ""},
		{"rackreach://rack/r1 rackreach://generation/-1", ""},
		{"rackreach://rack/r1 rackreach://generation/99999999999999999999", ""},
		{"rackreach://rack/r1 rackreach://generation/1 rackreach://generation/2", ""},
		{"rackreach://rack/" + strings.Repeat("a", 64), ""},
		{"rackreach://rack/" + strings.Repeat("a", 63), strings.Repeat("a", 63)},
	} {
		c := &x509.Certificate{SerialNumber: serial(t)}
		for _, text := range strings.Fields(x.uris) {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
		rack, _, err := RackOf(state)
		if rack != x.rack || (err == nil) != (x.rack != "") || err != nil && !errors.Is(err, ErrNoRack) {
			t.Errorf("%s: %q %v", x.uris, rack, err)
		}
		if state.VerifiedChains = nil; x.rack != "" {
			if _, _, err := RackOf(state); !errors.Is(err, ErrNoCertificate) {
				t.Errorf("%s, not verified: %v", x.uris, err)
			}
		}
	}
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := newSerial()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCheckHost(t *testing.T) {
	for _, good := range []string{"coordinator", "coordinator.example.net", "10.0.0.5", "::1", "fd00::5", "a-b_c.x1", strings.Repeat("a", 63) + ".net"} {
		if err := CheckHost(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", " ", "a b", "a\n", "https://a", "a:7443", "a/b", "*.a", "a..b", ".a", "a.", "-a", "a-", "[::1]", "fe80::1%eth0", "ä", strings.Repeat("a", 64), strings.Repeat("a.", 127)} {
		if err := CheckHost(bad); err == nil {
			t.Errorf("%q is the name of a machine", bad)
		}
	}
}
