//go:build netns

package ra

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"go.uber.org/goleak"
	"golang.org/x/net/ipv6"

	"github.com/rackreach/rackreach/internal/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node that asks is answered, and gets neither a route nor an address.
func TestOnAnInterface(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	us.Cable("rr0", them, "rr0")
	var err error
	us.Do(func() { _, err = Open("rr0") })
	if !errors.Is(err, ErrNoAddress) {
		t.Errorf("without an address: %v", err)
	}
	for _, h := range []*nstest.Host{us, them} {
		h.Do(func() { err = errors.Join(err, h.IPv6("rr0", true)) })
	}
	us.Address("rr0", "fe80::1/64")
	them.Address("rr0", "fe80::2/64")
	var a *Advertiser
	var conn *ndp.Conn
	us.Do(func() { a, err = Open("rr0") })
	if err != nil {
		t.Fatal(err)
	}
	them.Do(func() {
		var link *net.Interface
		if link, err = net.InterfaceByName("rr0"); err == nil {
			conn, _, err = ndp.Listen(link, "fe80::2")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(conn.JoinGroup(netip.IPv6LinkLocalAllNodes()), conn.SetControlMessage(ipv6.FlagHopLimit, true), conn.SetReadDeadline(time.Now().Add(20*time.Second))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	asked := make(chan bool, 10)
	a.Sent = func(b bool, err error) {
		if err != nil {
			t.Error(err)
		}
		asked <- b
	}
	go func() { ended <- a.Run(ctx) }()
	for _, want := range []bool{false, true} {
		if got := <-asked; got != want {
			t.Errorf("asked for: %v", got)
		}
		for {
			m, cm, from, err := conn.ReadFrom()
			if err != nil {
				t.Fatal(err)
			}
			if r, ok := m.(*ndp.RouterAdvertisement); ok {
				if r.RouterLifetime != 0 || cm.HopLimit != 255 || from.WithZone("").String() != "fe80::1" {
					t.Errorf("%+v from %s", r, from)
				}
				break
			}
		}
		if err := conn.WriteTo(&ndp.RouterSolicitation{}, nil, netip.IPv6LinkLocalAllRouters()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if out := them.Run("ip", "-6", "route", "show", "default"); out != "" {
		t.Errorf("a default route: %s", out)
	}
	if out := them.Run("ip", "-6", "addr", "show", "scope", "global"); out != "" {
		t.Errorf("an address: %s", out)
	}
}
