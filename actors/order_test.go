package actors

import (
	"sync"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// TestResumeWidensARun: a device that was seen before it was asked for, and has
// nothing more to say by itself, is taken up as soon as it is.
func TestResumeWidensARun(t *testing.T) {
	play(t, testRack("r1", 2, 0, 1), func(w *world) {
		w.only = []string{"mgmt-1", "tor-1"}
		var once sync.Once
		w.inject = func(device string, phase rack.Phase) {
			if device != "tor-1" || phase != rack.Installation {
				return
			}
			once.Do(func() {
				w.later(10*time.Second, func() {
					if _, err := Ask[Obeyed](w.ctx, w.system, w.pid, &Order{rack.Order{Verb: rack.Resume}}); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}, func(t *testing.T, w *world) {
		if got := w.find(rack.DeviceReady, ""); len(got) != 4 {
			t.Errorf("%d devices are ready, want 4", len(got))
		}
		if len(w.find(rack.RackCompleted, "")) != 1 {
			t.Error("the rack was not completed")
		}
	})
}
