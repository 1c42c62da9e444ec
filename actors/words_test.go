package actors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// What a device logs, or its installer says, stands in its timeline, once, bounded, and proves nothing.
func TestWhatDevicesLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1))
		w.breaks["mgmt-1 bmc"] = forever
		w.start()
		synctest.Wait()
		says := func(device, text string) {
			for _, source := range []rack.Source{rack.FromSyslog, rack.FromInstaller} { // the same words are one line
				w.system.EventStream.Publish(&messages.DeviceSeen{Observation: &messages.Observation{Source: string(source), Device: device, Address: "192.168.100.2", Message: text, Proves: "reported:installed"}})
				synctest.Wait()
			}
		}
		for range 10 {
			says("server-01", "onie: hello")
		}
		says("nobody", "onie: hello")
		says("server-01", "")
		if got := w.find(rack.DeviceSaid, ""); len(got) != 1 || got[0].Device != "server-01" || got[0].Role != rack.Server || got[0].Detail.Seen.Message != "onie: hello" {
			t.Errorf("%+v", got)
		}
		if len(w.find(rack.DeviceDiscovered, "server-01")) != 0 || len(w.find(rack.Observed, "server-01")) != 0 {
			t.Error("a line of a log counted as evidence")
		}
		for i := range 2 * linesPerStep {
			says("server-01", fmt.Sprint("line ", i))
		}
		got := w.find(rack.DeviceSaid, "server-01")
		if len(got) != linesPerStep || got[linesPerStep-1].Detail.Reason == "" || got[linesPerStep-2].Detail.Reason != "" {
			t.Errorf("%d lines were journalled, of %d at most", len(got), linesPerStep)
		}
		events, err := w.log.Read(1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		s, err := audit.Timeline(w.rack, platform.All(), events, "server-01", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(s.Lines(), "\n"); !strings.Contains(text, "says: onie: hello") || !strings.Contains(text, "(what it says from here on is not kept until its next step)") {
			t.Errorf("timeline:\n%s", text)
		}
		w.finish()
		time.Sleep(settle)
	})
}

func TestWordsAreForgottenWithTheStep(t *testing.T) {
	w := words{}
	if is, _ := w.isNew("d", "x"); !is {
		t.Error("not new")
	}
	if is, _ := w.isNew("d", "x"); is {
		t.Error("new again")
	}
	w.apply(rack.Event{Kind: rack.StepStarted, Device: "d"})
	w.apply(rack.Event{Kind: rack.DeviceSaid, Device: "d", Detail: rack.Detail{Seen: &rack.Observation{Message: "y"}}})
	w.apply(rack.Event{Kind: rack.DeviceSaid, Device: "d"})
	if is, _ := w.isNew("d", "x"); !is {
		t.Error("not forgotten")
	}
	if is, _ := w.isNew("d", "y"); is {
		t.Error("what the journal says is news")
	}
}

// A line that a step waits for completes it: from syslog only, and of a device that was
// discovered by something else.
func TestAwaitedLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1))
		p := w.platforms[platform.SimToR]
		p.Steps = append(slices.Clone(p.Steps), rack.Step{Name: "line", Phase: rack.Configuration, Until: rack.Said("system ready"), Limit: time.Minute})
		w.platforms[platform.SimToR] = p
		w.breaks["mgmt-1 bmc"] = forever
		w.start()
		synctest.Wait()
		says := func(source rack.Source, device, proves string) {
			w.system.EventStream.Publish(&messages.DeviceSeen{Observation: &messages.Observation{Source: string(source), Device: device, Address: "192.168.100.2", Message: "system ready", Proves: proves}})
			synctest.Wait()
		}
		says(rack.FromSyslog, "tor-1", "syslog:system ready")
		if len(w.find(rack.DeviceDiscovered, "tor-1")) != 0 {
			t.Error("tor-1 was discovered by a line that anybody could have sent")
		}
		w.system.EventStream.Publish(&messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Device: "tor-1", Stage: "onie", Proves: "dhcp:onie"}})
		synctest.Wait()
		for _, x := range [][3]string{{"installer", "tor-1", "syslog:system ready"}, {"syslog", "tor-1", "syslog:other"}, {"syslog", "tor-1", "dhcp:nos"}, {"syslog", "server-01", "syslog:system ready"}} {
			says(rack.Source(x[0]), x[1], x[2])
		}
		count := func() (n int) {
			for _, e := range w.find(rack.Observed, "") {
				if e.Detail.Seen.Source == rack.FromSyslog || e.Detail.Seen.Source == rack.FromInstaller {
					n++
				}
			}
			return n
		}
		if count() != 0 {
			t.Errorf("%d lines counted that nobody waits for", count())
		}
		says(rack.FromSyslog, "tor-1", "syslog:system ready")
		says(rack.FromSyslog, "tor-1", "syslog:system ready")
		if count() != 1 {
			t.Errorf("%d of one line", count())
		}
		w.finish()
		time.Sleep(settle)
	})
}
