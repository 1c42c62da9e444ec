package rackagent

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// Who has the lease of another device asks with the token of this one in vain.
func TestTokenOfAnotherDevice(t *testing.T) {
	a := newLab(t, platform.All(), nil).agent
	defer a.system.Shutdown()
	if err := a.openLeases(); err != nil {
		t.Fatal(err)
	}
	const id = "r1/mgmt-1/1"
	a.offer(actors.Offer{Run: "run", Binder: rack.NewBinder(a.o.Rack, a.o.Platforms),
		Tickets: []actors.Ticket{{ID: id, Device: "mgmt-1", Image: a.images()["mgmt-1"], Open: true}}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.boot.Serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, x := range []struct {
		holder string
		want   int
	}{{"", http.StatusOK}, {"mgmt-1", http.StatusOK}, {"tor-1", http.StatusForbidden}} {
		if x.holder != "" {
			l := lease.Lease{Address: netip.MustParseAddr("127.0.0.1"), Holder: lease.Holder{Slot: x.holder, End: "management"}, Ends: time.Now().Add(time.Hour)}
			if err := a.leases.Bind(l, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		r, err := client.Get("http://" + a.o.HTTP.Addr().String() + "/job/" + boot.Token(a.o.Secret, id))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Body.Close(); err != nil || r.StatusCode != x.want {
			t.Errorf("from the address of %q: %d, %v", x.holder, r.StatusCode, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
