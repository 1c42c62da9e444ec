package actors

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// A server whose BMC has a fixed address asks nobody for one: the management
// switch's table names it, and its own answer opens the link.
func TestMACTableFindsASilentBMC(t *testing.T) {
	play(t, testRack("r1", 2, 0, 2), func(w *world) { w.silentBMC = "server-02" }, func(t *testing.T, w *world) {
		if err := w.completed(); err != nil {
			t.Error(err)
		}
		first := w.find(rack.DeviceDiscovered, "server-02")
		if len(first) != 1 || (first[0].Detail.Seen.Source != rack.FromMACTable && first[0].Detail.Seen.Source != rack.FromBMC) {
			t.Errorf("server-02 was discovered by %+v", first)
		}
		rows := 0
		for _, e := range w.find(rack.Observed, "server-02") {
			if e.Detail.Seen.Source == rack.FromMACTable {
				rows++
			}
		}
		// The same row is news once more after a step of the device began.
		if rows < 1 || rows > 3 {
			t.Errorf("%d table rows were journalled", rows)
		}
	})
}

// A MAC table of a whole fabric takes no room from what devices say, and is read to its end.
func TestALongTable(t *testing.T) {
	play(t, testRack("r1", 1, 0, 2), func(w *world) {
		w.silentBMC = "server-02"
		for i := range 40_000 {
			w.table = append(w.table, rack.Observation{Source: rack.FromMACTable, MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255), Via: rack.Port{Device: "mgmt-1", Name: "70"}})
		}
	}, func(t *testing.T, w *world) {
		if n := w.agent.Dropped(); n != 0 {
			t.Errorf("%d observations were dropped", n)
		}
		if seen := w.find(rack.Observed, "server-02"); !slices.ContainsFunc(seen, func(e rack.Event) bool { return e.Detail.Seen.Source == rack.FromMACTable }) {
			t.Error("the last row was not seen")
		}
	})
}

// A port that bundles others (MLAG, a LAG) has no name in the rack file: who is heard
// there, and said at a port of another switch who it is, stands behind it. It is no extra
// cable, and does not lose its place.
func TestARowOfABundle(t *testing.T) {
	const mac = "52:54:00:00:00:0a"
	r := testRack("r1", 2, 0, 2)
	server := &r.Devices[3]
	server.MACs = []string{mac}
	play(t, r, func(w *world) {
		w.silentBMC = "server-02"
		w.table = []rack.Observation{{Source: rack.FromMACTable, MAC: mac, Via: rack.Port{Device: "tor-2", Name: "Port-Channel1"}}, {Source: rack.FromMACTable, MAC: mac, Via: rack.Port{Device: "tor-1", Name: "Port-Channel2"}}}
		w.later(time.Second, func() {
			w.publish(rack.Observation{Source: rack.FromDHCP, Device: server.Name, MAC: mac, Via: server.Data[0], Stage: rack.StagePXE})
		})
	}, func(t *testing.T, w *world) {
		heard := map[string]bool{}
		for _, e := range w.find(rack.Observed, server.Name) {
			heard[e.Detail.Seen.Via.String()] = true
		}
		if !heard["tor-1:1"] || heard["tor-2:Port-Channel1"] || !heard["tor-1:Port-Channel2"] {
			t.Errorf("it was heard at %v", heard)
		}
	})
}

// Strangers and repetitions are no events; what fits no single slot is one.
func TestWhatIsJournalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1))
		w.breaks["mgmt-1 bmc"] = forever
		w.start()
		synctest.Wait()
		head := len(w.find(rack.Observed, ""))
		seen := func(n int, m *messages.DeviceSeen) {
			for range n {
				w.system.EventStream.Publish(m)
			}
			synctest.Wait()
		}
		dhcp := func(mac string) *messages.Observation {
			return &messages.Observation{Source: "dhcp", Mac: mac, Via: "mgmt-1:60", Stage: "onie", Model: "sim_tor48", Proves: "dhcp:onie"}
		}
		seen(100, &messages.DeviceSeen{Observation: dhcp("52:54:00:00:00:01")})
		// Once when it was new, and once more after its first step began.
		if n := len(w.find(rack.Observed, "tor-1")); n < 1 || n > 2 {
			t.Errorf("the same packet a hundred times: %d events", n)
		}
		seen(100, &messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Mac: "52:54:00:00:00:02", Stage: "onie"}, Unbound: "it could be any of tor-1, tor-2", Ambiguous: true})
		if got := w.find(rack.ComponentAmbiguous, ""); len(got) != 1 || got[0].Detail.Reason == "" || got[0].Detail.Next == "" {
			t.Errorf("an ambiguous component: %+v", got)
		}
		for i := range 1000 {
			seen(1, &messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Mac: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255), Stage: "os"}, Unbound: "no slot fits"})
			seen(1, &messages.DeviceSeen{Observation: dhcp(fmt.Sprintf("02:01:00:00:%02x:%02x", i>>8, i&255))})
		}
		if n := len(w.find(rack.Observed, "")); n > head+2*factsPerDevice {
			t.Errorf("a flood of new addresses filled the journal with %d observations", n)
		}
		// Who is no device of this rack leaves room for what contradicts its cables.
		for i := range 100 {
			seen(1, &messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Mac: fmt.Sprintf("02:02:00:00:00:%02x", i), Stage: "onie"}, Unbound: "it could be any of tor-1, tor-2", Ambiguous: true})
		}
		if n := len(w.find(rack.ComponentAmbiguous, "")); n != 101 {
			t.Errorf("%d of 101 ambiguous components were journalled", n)
		}
		for i := range 2 * factsOfStrangers {
			seen(1, &messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Mac: fmt.Sprintf("02:03:00:00:%02x:%02x", i>>8, i&255), Stage: "onie"}, Unbound: "it could be any of tor-1, tor-2", Ambiguous: true})
		}
		if n := len(w.find(rack.ComponentAmbiguous, "")); n > factsOfStrangers {
			t.Errorf("a flood of ambiguous components filled the journal with %d events", n)
		}
		w.finish()
		time.Sleep(settle)
	})
}

// More observations than Agent can hold are dropped and counted, not queued.
func TestAFloodIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1))
		w.start()
		synctest.Wait()
		hold := make(chan struct{})
		w.mu.Lock()
		w.hold = hold // Announce blocks: Agent cannot keep up
		w.mu.Unlock()
		publish := func() {
			w.system.EventStream.Publish(&messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Mac: "52:54:00:00:00:01", Via: "mgmt-1:60", Stage: "onie", Model: "sim_tor48"}})
		}
		publish()
		synctest.Wait() // Agent has journalled it and now waits in Announce
		for range 3 * seenInFlight {
			publish()
		}
		if got := w.agent.Dropped(); got != 2*seenInFlight {
			t.Errorf("%d observations were dropped of %d, want %d", got, 3*seenInFlight, 2*seenInFlight)
		}
		w.mu.Lock()
		w.hold = nil
		w.mu.Unlock()
		close(hold)
		w.finish()
		time.Sleep(settle)
	})
}
