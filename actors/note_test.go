package actors

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// What is noted about a device stands in the journal, bounded, also in the next life.
func TestNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1))
		w.breaks["mgmt-1 bmc"] = forever
		w.start()
		synctest.Wait()
		note := func(device string, kind rack.Kind, d rack.Detail) {
			w.system.Root.Send(w.pid, &Note{Kind: kind, Device: device, Detail: d})
			synctest.Wait()
		}
		note("nobody", rack.RecoveryMade, rack.Detail{Recovery: rack.PowerCut})
		for _, found := range []string{`{"bmc":1}`, `{"bmc":1}`, `{"bmc":2}`} {
			note("server-01", rack.HardwareFound, rack.Detail{Found: found, Seen: &rack.Observation{Source: rack.FromBMC}})
		}
		note("server-01", rack.HardwareFound, rack.Detail{Found: `{"machine":1}`, Seen: &rack.Observation{Source: rack.FromInstaller}})
		if got := w.find(rack.HardwareFound, "server-01"); len(got) != 3 {
			t.Errorf("%d findings of hardware were journalled, 3 were news", len(got))
		}
		for range 2 * notesPerStep {
			note("server-01", rack.RecoveryMade, rack.Detail{Recovery: rack.PowerAgain})
		}
		if got := w.find(rack.RecoveryMade, ""); len(got) != notesPerStep-3 || got[0].Role != rack.Server {
			t.Errorf("%d recoveries were journalled, of %d at most", len(got), notesPerStep-3)
		}
		w.finish()
		time.Sleep(settle)
	})
}

func TestNotesAreRecalled(t *testing.T) {
	n := newNotes()
	d := rack.Detail{Found: "x", Seen: &rack.Observation{Source: rack.FromBMC}}
	n.recall(rack.Event{Kind: rack.HardwareFound, Device: "d", Detail: d})
	if n.isNew(rack.HardwareFound, "d", &d) {
		t.Error("what the journal says is news")
	}
	n.apply(rack.Event{Kind: rack.DeviceReplaced, Device: "d"})
	if !n.isNew(rack.HardwareFound, "d", &d) {
		t.Error("what was found in other hardware is not forgotten")
	}
	for i := range 2 * notesPerStep {
		n.isNew(rack.HardwareFound, "d", &rack.Detail{Recovery: rack.Recovery(fmt.Sprint(i))})
	}
	n.recall(rack.Event{Kind: rack.StepStarted, Device: "d"})
	if !n.isNew(rack.HardwareFound, "d", &rack.Detail{Recovery: rack.PowerCut}) {
		t.Error("nothing is noted in the next step")
	}
}
