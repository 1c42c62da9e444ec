package rack_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// looking is a switch whose platform has steps that look and ask.
func looking(steps ...rack.Step) *shell {
	s := newShell(rack.ToRSwitch)
	p := platform.All()[platform.SimToR]
	p.Steps = append([]rack.Step{{Name: "onie", Phase: rack.Discovery, Until: rack.DHCPONIE, Limit: time.Minute}}, steps...)
	s.machine = rack.NewMachine("r1", s.device, p, testImage)
	return s
}

func (s *shell) sees(e rack.Evidence, source rack.Source) {
	s.journal(rack.Event{Rack: "r1", Device: "it", Kind: rack.Observed, Detail: rack.Detail{Seen: &rack.Observation{Source: source, Device: "it", Proves: e}}})
	s.drive(rack.Input{Kind: rack.Woken})
}

// What was observed before a step that only looks counts after it; what was observed
// before one that changes something does not.
func TestLookingMakesNothingOld(t *testing.T) {
	for _, x := range []struct {
		step rack.Step
		goes bool
	}{
		{rack.Step{Name: "look", Action: rack.AwaitPort, Port: 22}, true},
		{rack.Step{Name: "look", Action: rack.AwaitARP}, true},
		{rack.Step{Name: "look", Action: rack.Request, HTTP: &rack.WebRequest{Method: "POST", Path: "/"}}, false},
	} {
		x.step.Phase, x.step.Limit = rack.Configuration, time.Minute
		s := looking(rack.Step{Name: "boot", Phase: rack.Installation, Until: rack.DHCPNOS, Limit: time.Minute}, x.step,
			rack.Step{Name: "line", Phase: rack.Configuration, Until: rack.Said("system ready"), Limit: time.Minute})
		s.sees(rack.DHCPONIE, rack.FromDHCP)
		s.sees(rack.Said("system ready"), rack.FromSyslog)
		s.sees(rack.DHCPNOS, rack.FromDHCP)
		s.drive(rack.Input{Kind: rack.ActionDone, Step: "look", Attempt: 1})
		if ready := strings.Contains(s.out.String(), "device-ready"); ready != x.goes {
			t.Errorf("%s: ready %t\n%s", x.step.Action, ready, s.out.String())
		}
	}
}

// After a crash a look is taken again, whatever was seen of what comes after it.
func TestLookIsRepeatedAfterACrash(t *testing.T) {
	s := looking(rack.Step{Name: "look", Phase: rack.Discovery, Action: rack.AwaitPort, Port: 22, Limit: time.Minute},
		rack.Step{Name: "line", Phase: rack.Discovery, Until: rack.Said("system ready"), Limit: time.Minute})
	s.sees(rack.DHCPONIE, rack.FromDHCP)
	s.sees(rack.Said("system ready"), rack.FromSyslog)
	s.out.Reset()
	s.drive(rack.Input{Kind: rack.Resumed})
	if got := s.out.String(); !strings.Contains(got, "> do look (attempt 1)") || strings.Contains(got, "completed") {
		t.Error(got)
	}
}

// A step that times out names itself, and what it waited for.
func TestTimeOutsSayWhatWasWaitedFor(t *testing.T) {
	for want, step := range map[string]rack.Step{
		`no line with "system ready" in its log within 1m0s`: {Until: rack.Said("system ready")},
		"no open TCP port 443 at its address within 1m0s":    {Action: rack.AwaitPort, Port: 443},
		"no answer to ARP for its address within 1m0s":       {Action: rack.AwaitARP},
		"no answer to PUT /api within 1m0s":                  {Action: rack.Request, HTTP: &rack.WebRequest{Method: "PUT", Path: "/api"}},
	} {
		step.Name, step.Phase, step.Limit = "this-one", rack.Discovery, time.Minute
		s := looking(step)
		s.sees(rack.DHCPONIE, rack.FromDHCP)
		s.drive(rack.Input{Kind: rack.LimitPassed, Step: "this-one", Attempt: 1})
		if got := s.out.String(); !strings.Contains(got, "! fault: discovery failed at step this-one: "+want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// A device that has fetched its image may be writing, whatever else is looked for
// meanwhile: it is not power-cycled because that does not come, by nobody's order.
func TestLookInVainWhileTheDeviceMayBeWriting(t *testing.T) {
	for _, in := range []rack.Input{
		{Kind: rack.LimitPassed, Step: "look", Attempt: 1},
		{Kind: rack.ActionDone, Step: "look", Attempt: 1, Error: "nothing listens"},
	} {
		for _, step := range []rack.Step{{Action: rack.AwaitPort, Port: 22}, {Action: rack.AwaitARP}, {Action: rack.Request, HTTP: &rack.WebRequest{Method: "GET", Path: "/"}}} {
			step.Name, step.Phase, step.Limit, step.Retries, step.Backoff, step.RetryFrom = "look", rack.Installation, time.Minute, 2, time.Second, "ticket"
			s := looking(rack.Step{Name: "ticket", Phase: rack.Installation, Action: rack.IssueTicket, Limit: time.Minute},
				step, rack.Step{Name: "write", Phase: rack.Installation, Until: rack.DHCPNOS, Destructive: true, Limit: time.Minute})
			s.sees(rack.DHCPONIE, rack.FromDHCP)
			s.sees(rack.FetchedImage, rack.FromHTTP)
			s.drive(in)
			if got := s.out.String(); !strings.Contains(got, "! fault") || strings.Contains(got, "in 1s") || !strings.Contains(got, "(it may be writing)") {
				t.Errorf("%s, %s:\n%s", step.Action, in.Kind, got)
			}
		}
	}
}

// A fetch that is told after the report of its installer is no reason to spare a device.
func TestLookInVainWhenTheFetchIsToldLate(t *testing.T) {
	for _, word := range []rack.Evidence{rack.ReportedInstalled, rack.ReportedFailed, rack.ReportedRefused} {
		s := looking(rack.Step{Name: "ticket", Phase: rack.Installation, Action: rack.IssueTicket, Limit: time.Minute},
			rack.Step{Name: "look", Phase: rack.Installation, Action: rack.AwaitARP, Limit: time.Minute, Retries: 2, Backoff: time.Second},
			rack.Step{Name: "write", Phase: rack.Installation, Until: rack.DHCPNOS, Destructive: true, Limit: time.Minute})
		s.sees(rack.DHCPONIE, rack.FromDHCP)
		s.sees(word, rack.FromHTTP)
		s.sees(rack.FetchedImage, rack.FromHTTP)
		s.drive(rack.Input{Kind: rack.LimitPassed, Step: "look", Attempt: 1})
		if got := s.out.String(); strings.Contains(got, "may be writing") {
			t.Errorf("%s:\n%s", word, got)
		}
	}
}

// A line can be forged: after a crash it stands for no command that was under way.
func TestLineStandsForNoCommandAfterACrash(t *testing.T) {
	s := looking(rack.Step{Name: "boot", Phase: rack.Installation, Until: rack.DHCPNOS, Limit: time.Minute},
		rack.Step{Name: "push", Phase: rack.Configuration, Action: rack.PushConfig, Limit: time.Minute},
		rack.Step{Name: "line", Phase: rack.Configuration, Until: rack.Said("system ready"), Limit: time.Minute})
	s.sees(rack.DHCPONIE, rack.FromDHCP)
	s.sees(rack.DHCPNOS, rack.FromDHCP)
	s.sees(rack.Said("system ready"), rack.FromSyslog)
	s.out.Reset()
	s.drive(rack.Input{Kind: rack.Resumed})
	if got := s.out.String(); !strings.Contains(got, "> do push (attempt 1)") || strings.Contains(got, "completed") {
		t.Error(got)
	}
}

// A step that waits in vain for its cables is not begun again and again: the device is
// held until somebody has looked at them.
func TestCablesAgainstAWaitThatIsNotRetried(t *testing.T) {
	s := looking(rack.Step{Name: "sees", Phase: rack.Discovery, Until: rack.DHCPPXE, Limit: time.Minute})
	s.machine.SetCabling(map[rack.Network]string{rack.Data: rack.CablingReason + "it stands at another's port"})
	s.sees(rack.DHCPONIE, rack.FromDHCP)
	for range 5 {
		s.drive(rack.Input{Kind: rack.RetryDue, Step: "sees", Attempt: 1})
	}
	failed, held := 0, 0
	for _, e := range s.events {
		if e.Kind == rack.StepFailed {
			failed++
		}
		if e.Kind == rack.DeviceHeld {
			held++
		}
	}
	if failed > 1 || held != 1 {
		t.Errorf("failed %d times, held %d times\n%s", failed, held, s.out.String())
	}
}
