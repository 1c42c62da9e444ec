package actors

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// A switch hears something else at the port of a server: that server gets no ticket until
// its cable is right, and every other one is ready long before.
func TestAServerWhoseCableIsWrong(t *testing.T) {
	const mended = 5 * time.Hour
	play(t, testRack("r1", 2, 0, 3), func(w *world) {
		w.hear("tor-1:2", "r1/tor-2:7")
		w.later(mended, func() { w.hear("tor-1:2", "") })
	}, func(t *testing.T, w *world) {
		if err := w.completed(); err != nil {
			t.Fatal(err)
		}
		began := logged(t, w, rack.RackStarted)[0].Time
		for _, e := range logged(t, w, rack.TicketIssued) {
			if wrong := e.Device == "server-02"; wrong != (e.Time.Sub(began) >= mended) {
				t.Errorf("%s has its ticket after %s", e.Device, e.Time.Sub(began))
			}
		}
		held := 0
		for _, e := range logged(t, w, rack.DeviceHeld) {
			if !strings.HasPrefix(e.Detail.Reason, rack.CablingReason) {
				continue
			}
			if held++; e.Device != "server-02" || !strings.Contains(e.Detail.Reason, "cable tor-1:2 should lead to server-02 and leads to tor-2 (LLDP)") {
				t.Errorf("%s is held: %s", e.Device, e.Detail.Reason)
			}
		}
		if held != 1 {
			t.Errorf("it was held %d times", held)
		}
	})
}
