package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestTimeline(t *testing.T) {
	r, events := example(t, "rack-1"), record(t, "r1-server-fault")
	// Just after its first attempt failed, before the second.
	at := events[at(t, events, 1, rack.StepFailed, "server-02", "")].Time
	s, err := Timeline(r, platform.All(), events, "server-02", at)
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != rack.Imaging || s.Cause != "" || len(s.Devices) != 1 || s.Devices[0].State.Status != rack.Installing || s.Devices[0].State.Ticket.Open {
		t.Errorf("%+v", s.Devices)
	}
	got := joined(s.Lines())
	for _, want := range []string{
		"rack r1 at 2026-11-25 07:57:00.442 UTC: imaging",
		"  server-02      installation, step write, attempt 1, 41%, last error: the device reported: writing to the disk failed",
		"07:57:00.255   +0.000s  ticket r1/server-02/1 for image sim-hypervisor (event 275)",
		"step boot-loader completed (event 328)",
		"link tor-1:2 ready, over mgmt-1 > tor-1 (event 210)",
		"link tor-1:2 open (event 255)",
		"held no longer (event 219)",
		"observed by http: the device's own report: failed: writing to the disk failed: input/output error (injected) (event 359)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line says %q in\n%s", want, got)
		}
	}
	last := s.Events[len(s.Events)-1]
	if last.Event.Kind != rack.StepFailed || last.After <= 0 || last.After != last.Event.Time.Sub(s.Events[len(s.Events)-2].Event.Time) {
		t.Errorf("the last event: %+v", last)
	}
}

func TestTimelineOfARack(t *testing.T) {
	r, events := example(t, "rack-1"), record(t, "r1-switch-fault")
	s, err := Timeline(r, platform.All(), events, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != rack.Halted || !strings.Contains(s.Cause, "back in ONIE") || len(s.Devices) != len(r.Devices) || !s.At.Equal(events[len(events)-1].Time) {
		t.Errorf("%+v", s)
	}
	for _, p := range s.Events {
		if p.Event.Kind == rack.Observed || p.Event.Kind == rack.StepStarted || p.Words == "" {
			t.Errorf("not a milestone: %+v", p)
		}
	}
	got := joined(s.Lines())
	for _, want := range []string{
		"rack r1 at 2026-11-25 07:57:00.772 UTC: halted: installation failed at step install",
		"  mgmt-1         ready, 100%",
		"held: not all switches of the rack are ready",
		"r1             imaging starts (event 1)",
		"tor-2          ready (event 195)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line says %q in\n%s", want, got)
		}
	}
}

func TestTimelineAtTheEdges(t *testing.T) {
	r, events := example(t, "rack-1"), record(t, "r1-happy")
	before, err := Timeline(r, platform.All(), events, "", events[0].Time.Add(-time.Second))
	if err != nil || before.Status != rack.Idle || len(before.Events) != 0 {
		t.Errorf("before the first event: %+v, %v", before, err)
	}
	empty, err := Timeline(r, platform.All(), nil, "", time.Time{})
	if err != nil || empty.Status != rack.Idle || len(empty.Lines()) != 1+len(r.Devices) {
		t.Errorf("an empty journal: %+v, %v", empty, err)
	}
	if _, err := Timeline(r, platform.All(), events, "server-99", time.Time{}); err == nil {
		t.Error("a device that is not there")
	}
}
