package actors

import (
	"fmt"
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
		w := newWorld(t, newSystem(), testRack("r1", 2, 0, 1))
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
