package coordinator

import (
	"testing"

	"github.com/rackreach/rackreach/actors"
)

// TestARevokedRackIsForgotten although its agent goes right behind that: it is cut off.
func TestARevokedRackIsForgotten(t *testing.T) {
	s := newSightings(nil, false, nil, nil)
	here, gone := actors.Sighting{Connected: true, Epoch: 1}, actors.Sighting{Epoch: 1}
	pending := func() *actors.Sighting {
		t.Helper()
		x, ok := s.dirty["r1"]
		if !ok {
			t.Fatal("nothing is to be written")
		}
		return x
	}
	s.saw("r1", here)
	s.revoked("r1")
	s.saw("r1", gone)
	if x := pending(); x != nil {
		t.Errorf("revoked, then gone: %+v", x)
	}
	s.saw("r1", here)
	if x := pending(); x == nil || !x.Connected {
		t.Errorf("enrolled again and connected: %+v", x)
	}
	s.saw("r1", gone)
	if x := pending(); x == nil || x.Connected {
		t.Errorf("gone by itself: %+v", x)
	}
	// The log was away when the removal was to be written, and the agent went meanwhile.
	s.again("r1", nil)
	if x := pending(); x != nil {
		t.Errorf("revoked, not written, gone: %+v", x)
	}
	s.saw("r1", here)
	s.again("r1", nil)
	if x := pending(); x == nil || !x.Connected {
		t.Errorf("revoked, not written, enrolled again: %+v", x)
	}
	s.again("r1", &gone)
	if x := pending(); x == nil || !x.Connected {
		t.Errorf("what was not written is older: %+v", x)
	}
}
