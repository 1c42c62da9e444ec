package actors

import (
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// A component that moves between ports says something new at each of them, as often as
// it comes back; one that stays says it once.
func TestAComponentThatMoves(t *testing.T) {
	f := facts{}
	at := func(port, device string) *rack.Observation {
		return &rack.Observation{Source: rack.FromDHCP, Device: device, MAC: "02:00:00:00:00:01", Via: rack.Port{Device: "tor-1", Name: port}, Stage: rack.StagePXE}
	}
	says := func(o *rack.Observation, unbound string) bool {
		news := f.isNew(o, unbound)
		kind := rack.Observed
		if unbound != "" {
			kind = rack.ComponentAmbiguous
		}
		if news {
			f.apply(rack.Event{Kind: kind, Device: o.Device, Detail: rack.Detail{Seen: o, Reason: unbound}})
		}
		return news
	}
	for i, c := range []struct {
		o       *rack.Observation
		unbound string
		news    bool
	}{
		{at("1", "server-01"), "", true}, {at("1", "server-01"), "", false},
		{at("2", ""), "its port says server-02", true}, {at("2", ""), "its port says server-02", false},
		{at("1", "server-01"), "", true}, {at("2", ""), "its port says server-02", true},
	} {
		if got := says(c.o, c.unbound); got != c.news {
			t.Errorf("%d: %v", i, got)
		}
	}
	f.apply(rack.Event{Kind: rack.DeviceReleased, Device: "server-01"})
	if !says(at("2", ""), "its port says server-02") {
		t.Error("what was ambiguous before a device went on is no news after it")
	}
}
