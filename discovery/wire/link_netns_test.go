//go:build netns

package wire_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

func TestInspect(t *testing.T) {
	server, client, _ := pair(t)
	inspect := func(h *nstest.Host, name string) (l *wire.Link) {
		t.Helper()
		var err error
		h.Do(func() { l, err = wire.Inspect(name) })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	network := netip.MustParsePrefix("10.0.0.0/24")
	l := inspect(server, "rr0")
	if !l.Up || !l.Carrier || l.MTU != 1500 || l.MAC.String() != server.MAC("rr0").String() || fmt.Sprint(l.Addresses) != "[10.0.0.1/24]" || l.DefaultRoutes != nil || l.Unfit(network) != nil {
		t.Errorf("%+v %v", l, l.Unfit(network))
	}
	server.Default("rr0", "10.0.0.254")
	if l := inspect(server, "rr0"); fmt.Sprint(l.DefaultRoutes) != "[the default route by 10.0.0.254 leaves through rr0]" {
		t.Errorf("%q", l.DefaultRoutes)
	}
	if l := inspect(server, "rr1"); l.DefaultRoutes != nil {
		t.Errorf("%q", l.DefaultRoutes)
	}
	client.Up("rr0", false)
	if l := inspect(server, "rr0"); !l.Up || l.Carrier {
		t.Errorf("%+v", l)
	}
	if l := inspect(client, "rr0"); l.Up || l.Carrier {
		t.Errorf("%+v", l)
	}
	var err error
	server.Do(func() { _, err = wire.Inspect("rr9") })
	if err == nil || !strings.Contains(err.Error(), "there is no interface rr9") {
		t.Errorf("%v", err)
	}
}

// A macvlan on the interface is on the same segment.
func TestInspectSegment(t *testing.T) {
	server, _, _ := pair(t)
	if err := server.Macvlan("rr0", "mv0"); err != nil {
		t.Fatal("this kernel has no macvlan: ", err)
	}
	server.Address("mv0", "10.0.2.1/24")
	server.Default("mv0", "10.0.2.254")
	for _, name := range []string{"rr0", "mv0", "rr1"} {
		var l *wire.Link
		var err error
		server.Do(func() { l, err = wire.Inspect(name) })
		if err != nil {
			t.Fatal(err)
		}
		if want := name != "rr1"; len(l.DefaultRoutes) > 0 != want {
			t.Errorf("%s: %q", name, l.DefaultRoutes)
		}
	}
}
