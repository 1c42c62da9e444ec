package rackagent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
)

// quick keeps what waits for a host's power in step with the simulation.
func quick(o *Options) { o.Power.Settle, o.Power.Soft = time.Second, time.Second }

// A device that fails once in the ways that operators know is made to go on; how is
// named in its timeline, and counted. One that fails for ever is given up, with the
// step named.
func TestRecoveries(t *testing.T) {
	for _, c := range []struct {
		kind sim.FaultKind
		want rack.Recovery
		step string // that fails for good when the fault never ends
	}{
		{sim.FaultSilent, rack.PowerCycled, "network-boot"},
		{sim.FaultIgnored, rack.OverrideAgain, "network-boot"},
		{sim.FaultLost, rack.OverrideAgain, "boot-device"},
		{sim.FaultBMCIdle, rack.PowerAgain, "power-on"},
	} {
		run := func(device string, count int) (*lab, []rack.Event) {
			l := newLab(t, platform.Scaled(platform.All(), 600, 4*time.Second), quick, sim.Fault{Device: device, Phase: rack.Discovery, Kind: c.kind, Count: count})
			if err := l.agent.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			events, err := l.log.Read(1, 100000)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := audit.Prove(l.agent.o.Rack, l.agent.o.Platforms, events); err != nil {
				t.Error(err)
			}
			return l, events
		}
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			l, events := run("server-02", 1)
			if ready, failed := tally(t, l); ready != 9 || failed != 0 {
				t.Errorf("%d devices are ready, %d failed", ready, failed)
			}
			n := 0
			for _, e := range events {
				if e.Detail.Recovery == c.want && e.Device == "server-02" {
					n++
				}
			}
			if n == 0 || n > 2 {
				t.Errorf("%d events name the recovery %s", n, c.want)
			}
			if want := fmt.Sprintf(`rackreach_recoveries_total{device="server-02",rack="r1",recovery="%s"} %d`, c.want, n); !strings.Contains(scrape(t, l.registry), want) {
				t.Errorf("the metrics have no %s", want)
			}
			story, err := audit.Timeline(l.agent.o.Rack, l.agent.o.Platforms, events, "server-02", time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(story.Lines(), func(s string) bool { return strings.Contains(s, "recovery "+string(c.want)) }) {
				t.Errorf("the timeline does not name %s:\n%s", c.want, strings.Join(story.Lines(), "\n"))
			}
			if v := l.violations(t); len(v) > 0 {
				t.Error(v)
			}
		})
		t.Run(string(c.kind)+" for ever", func(t *testing.T) {
			t.Parallel()
			_, events := run("server-02", 0)
			failed := slices.IndexFunc(events, func(e rack.Event) bool { return e.Kind == rack.DeviceFailed })
			if last := ended(events); last.Kind != rack.RackCompleted || last.Detail.Ready != 8 || last.Detail.Failed != 1 {
				t.Errorf("the run ended by %s, %d ready, %d failed", last.Kind, last.Detail.Ready, last.Detail.Failed)
			}
			if failed < 0 || events[failed].Device != "server-02" || !strings.Contains(events[failed].Detail.Error, c.step) {
				t.Errorf("it failed by event %d: %s", failed, events[failed].Detail.Error)
			}
		})
	}
	t.Run("a switch for ever", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, platform.Scaled(platform.All(), 600, 4*time.Second), quick, sim.Fault{Device: "mgmt-1", Phase: rack.Discovery, Kind: sim.FaultSilent})
		if err := l.agent.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		events, err := l.log.Read(1, 100000)
		if err != nil {
			t.Fatal(err)
		}
		if last := ended(events); last.Kind != rack.RackHalted {
			t.Errorf("the run ended by %s", last.Kind)
		}
		i := slices.IndexFunc(events, func(e rack.Event) bool { return e.Kind == rack.DeviceFailed && e.Device == "mgmt-1" })
		if i < 0 || !strings.Contains(events[i].Detail.Error, "network-boot: silent after its OFFER") {
			t.Errorf("it failed by event %d", i)
		}
	})
}

// ended is how a run ended. What devices say afterwards, until the agent ends, is behind it.
func ended(events []rack.Event) rack.Event {
	for _, e := range slices.Backward(events) {
		if e.Kind != rack.Observed {
			return e
		}
	}
	return rack.Event{}
}
