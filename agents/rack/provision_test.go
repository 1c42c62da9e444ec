package rackagent

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// A document says who may log in by his public key; a password and a private key stand
// in none of them, and nobody gets what his platform does not give.
func TestDocuments(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := xssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := xssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public := strings.TrimSpace(string(xssh.MarshalAuthorizedKey(signer.PublicKey())))
	user, keyFails := "netops", error(nil)
	n := &native{log: slog.New(slog.NewTextHandler(io.Discard, nil)), imageURL: func(boot.Ticket) string { return "http://agent/image/T" },
		rack: &rack.Rack{Name: "r1", Management: netip.MustParsePrefix("192.168.100.0/24"), Devices: []rack.Device{
			{Name: "tor-1", Role: rack.ToRSwitch, Address: netip.MustParseAddr("192.168.100.2"), Access: &rack.Access{Credentials: "env:A", Key: "file:/k"}},
			{Name: "tor-2", Role: rack.ToRSwitch, Address: netip.MustParseAddr("192.168.100.3"), Access: &rack.Access{Credentials: "env:A"}},
		}},
		logins: logins{func(string) (string, string, error) { return user, "hunter2hunter2", nil }, func(string) ([]byte, error) { return pem.EncodeToMemory(block), keyFails }}}
	for _, name := range []string{"sonic", "cumulus", "eos"} {
		p := platform.All()[name]
		for _, device := range []string{"tor-1", "tor-2"} {
			ticket := boot.Ticket{ID: "r1/" + device + "/1", Device: device, Run: "RUN", Image: rack.Image{Name: "nos-1.2.bin", Digest: "sha256:" + strings.Repeat("ab", 32)}, Native: true, Provision: p.Provision}
			all := ""
			for _, d := range p.Provision.Documents {
				b, shows, err := n.File(ticket, "http://agent/native/T", d.Name)
				if err != nil || shows != rack.NoEvidence {
					t.Fatalf("%s of %s: %v, %v", d.Name, name, shows, err)
				}
				all += string(b)
			}
			if strings.Contains(all, "hunter2") || strings.Contains(all, "PRIVATE") {
				t.Errorf("%s shows a secret:\n%s", name, all)
			}
			if has := strings.Contains(all, public) && strings.Contains(all, "netops"); has != (device == "tor-1") {
				t.Errorf("%s, %s: its user's key is there: %v\n%s", name, device, has, all)
			}
			if !strings.Contains(all, "http://agent/native/T/report/installed") || !strings.Contains(all, device) {
				t.Errorf("%s does not report:\n%s", name, all)
			}
			for _, other := range []string{"ks.cfg", "preseed.cfg", "../secret", ""} {
				if _, _, err := n.File(ticket, "http://agent/native/T", other); !errors.Is(err, boot.ErrNoFile) {
					t.Errorf("%s gets %q: %v", name, other, err)
				}
			}
		}
	}
	user = "x'; reboot; '"
	cumulus := boot.Ticket{ID: "r1/tor-1/1", Device: "tor-1", Provision: platform.All()["cumulus"].Provision}
	if b, _, err := n.File(cumulus, "http://agent/native/T", "provision.sh"); err == nil {
		t.Errorf("a user that is none: %s", b)
	}
	user, keyFails = "netops", errors.New("locked")
	ticket := boot.Ticket{ID: "r1/tor-1/1", Device: "tor-1", Provision: platform.All()["eos"].Provision}
	if _, _, err := n.File(ticket, "http://agent/native/T", "startup-config"); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a device is given a document without the key that lets us in: %v", err)
	}
}
