package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestRealJournalsHold(t *testing.T) {
	for _, x := range recorded {
		t.Run(x.name, func(t *testing.T) {
			p, err := Prove(example(t, x.rack), platform.All(), record(t, x.name))
			if err != nil {
				t.Fatal(err)
			}
			// A journal that ends anywhere proves what it has.
			events := record(t, x.name)
			for n := 1; n < len(events); n += 7 {
				if _, err := Prove(example(t, x.rack), platform.All(), events[:n]); err != nil {
					t.Fatalf("the first %d events: %v", n, err)
				}
			}
			if p.Status == rack.Completed && (p.SwitchesReady.IsZero() || p.FirstServer.Seq < p.SwitchesReady.Seq) {
				t.Errorf("headline: %+v, %+v", p.SwitchesReady, p.FirstServer)
			}
			for _, d := range p.Devices {
				if d.Status != rack.Ready {
					continue
				}
				if len(d.Phases) != 3 {
					t.Errorf("%s is ready with %d phases", d.Device, len(d.Phases))
				}
				for _, f := range d.Phases {
					if f.Ended.IsZero() || len(f.Evidence) == 0 {
						t.Errorf("%s is ready, %s: %+v", d.Device, f.Phase, f)
					}
				}
			}
		})
	}
}

func TestProofLines(t *testing.T) {
	p, err := Prove(example(t, "rack-1"), platform.All(), record(t, "r1-server-fault"))
	if err != nil {
		t.Fatal(err)
	}
	got := joined(p.Lines())
	for _, want := range []string{
		"rack r1 is completed: 545 events from 2026-11-25 07:56:57.531 to 07:57:03.907 UTC, each held against 18 rules",
		"all switches were ready at event 207 (tor-1, the last, at 07:56:59.979) before any server was powered, booted or ticketed: the first was server-01 at event 220 (step boot-device, at 07:56:59.981)",
		"server-02 (server): ready at event 544, 07:57:03.906",
		"  installation: event 272, 07:57:00.254, to event 535, 07:57:03.856",
		"    07:57:02.294 ticket: ticket r1/server-02/3 was journalled before anything was served (event 507)",
		"    07:57:03.269 write: the device's own report: installed (event 525, by http)",
		"first-boot: its installed system came up and took its address 10.0.1.12 (event 532, by dhcp through tor-2:2)",
		"verify: asked what it runs, and it is what was wanted (event 542)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line says %q in\n%s", want, got)
		}
	}
	p, err = Prove(example(t, "rack-1"), platform.All(), record(t, "r1-switch-fault"))
	if err != nil || !strings.Contains(joined(p.Lines()), "not all switches are ready yet, and no server was powered, booted or ticketed") ||
		!strings.Contains(joined(p.Lines()), "  installation: event 81, 07:56:58.789, not completed") {
		t.Errorf("%v\n%s", err, joined(p.Lines()))
	}
}

// TestEveryRuleRed changes journals that hold and names the rule that each
// change must break. Events are numbered anew unless said otherwise.
func TestEveryRuleRed(t *testing.T) {
	const s2 = "server-02"
	covered := map[int]bool{}
	for _, x := range []struct {
		name   string
		from   string
		rule   int
		change func(s *story)
		raw    bool // not numbered anew
	}{
		{name: "a gap", rule: ruleSequence, raw: true, change: func(s *story) { s.drop(100) }},
		{name: "the beginning is missing", rule: ruleSequence, raw: true, change: func(s *story) { s.drop(0) }},
		{name: "another rack", rule: ruleNames, change: func(s *story) { s.events[100].Rack = "r9" }},
		{name: "a stranger", rule: ruleNames, change: func(s *story) { s.events[s.at(1, rack.Observed, s2, "")].Device = "server-99" }},
		{name: "another role", rule: ruleNames, change: func(s *story) { s.events[s.at(1, rack.Observed, s2, "")].Role = rack.ToRSwitch }},
		{name: "an empty observation", rule: ruleNames, change: func(s *story) { s.events[s.at(2, rack.Observed, s2, "")].Detail.Seen = nil }},
		{name: "nothing at all", rule: ruleBegin, change: func(s *story) { s.events = nil }},
		{name: "not begun", rule: ruleBegin, change: func(s *story) { s.drop(0) }},
		{name: "begun twice", rule: ruleBegin, change: func(s *story) { s.insert(50, event(rack.RackStarted, "", rack.Detail{})) }},
		{name: "time goes back", rule: ruleTime, change: func(s *story) { s.events[100].Time = s.events[98].Time.Add(-time.Second) }},

		{name: "not discovered", rule: rulePhases, change: func(s *story) { s.drop(s.at(1, rack.DeviceDiscovered, s2, "")) }},
		{name: "discovered twice", rule: rulePhases, change: func(s *story) { i := s.at(1, rack.DeviceDiscovered, s2, ""); s.insert(i, s.events[i]) }},
		{name: "a phase is left out", rule: rulePhases, change: func(s *story) { s.drop(s.at(2, rack.PhaseStarted, s2, "")) }},
		{name: "a phase is not completed", rule: rulePhases, change: func(s *story) { s.drop(s.at(1, rack.PhaseCompleted, s2, "")) }},
		{name: "work after ready", rule: rulePhases, change: func(s *story) {
			s.insert(len(s.events)-1, stepEvent(rack.StepStarted, s2, rack.Configuration, "verify", 2))
		}},
		{name: "work after the last failure", from: "r1-switch-fault", rule: rulePhases, change: func(s *story) {
			s.insert(s.at(1, rack.DeviceFailed, "tor-1", ""), stepEvent(rack.StepStarted, "tor-1", rack.Installation, "ticket", 4))
		}},

		{name: "an attempt is left out", rule: ruleAttempts, change: func(s *story) { s.events[s.at(2, rack.StepStarted, s2, "ticket")].Detail.Attempt = 3 }},
		{name: "the first attempt is the second", rule: ruleAttempts, change: func(s *story) { s.events[s.at(1, rack.StepStarted, s2, "bmc-login")].Detail.Attempt = 2 }},
		{name: "another attempt is completed", rule: ruleAttempts, change: func(s *story) { s.events[s.at(2, rack.StepCompleted, s2, "ticket")].Detail.Attempt = 1 }},

		{name: "a step is left out", rule: ruleSteps, change: func(s *story) {
			s.drop(s.at(1, rack.StepStarted, s2, "bmc-login"), s.at(1, rack.StepCompleted, s2, "bmc-login"))
		}},
		{name: "two steps at once", rule: ruleSteps, change: func(s *story) { s.drop(s.at(1, rack.StepCompleted, s2, "bmc-login")) }},
		{name: "a step again without a failure", rule: ruleSteps, change: func(s *story) {
			i := s.at(1, rack.StepCompleted, s2, "bmc-login")
			s.insert(i+1, stepEvent(rack.StepStarted, s2, rack.Discovery, "bmc-login", 2))
		}},
		{name: "a step of no platform", rule: ruleSteps, change: func(s *story) { s.events[s.at(1, rack.StepStarted, s2, "bmc-login")].Detail.Step = "dance" }},
		{name: "the step that failed, without a sign that it did not", from: "r1-happy", rule: ruleSteps, change: func(s *story) {
			seenInONIE(s, proof(s, "tor-1", rack.DHCPNOS)+1)
		}},
		{name: "a retry without its own steps", rule: ruleSteps, change: func(s *story) {
			s.drop(s.at(1, rack.StepStarted, s2, "boot-device-again"), s.at(1, rack.StepCompleted, s2, "boot-device-again"))
		}},
		{name: "steps of a retry without a failure", from: "r1-happy", rule: ruleSteps, change: func(s *story) {
			s.insert(s.at(1, rack.StepStarted, s2, "boot-loader"), stepEvent(rack.StepStarted, s2, rack.Installation, "boot-device-again", 1))
		}},

		{name: "no report", rule: ruleEvidence, change: func(s *story) { s.drop(proof(s, s2, rack.ReportedInstalled)) }},
		{name: "the report of an attempt before", rule: ruleEvidence, change: func(s *story) {
			s.move(proof(s, s2, rack.ReportedInstalled), s.at(2, rack.StepFailed, s2, "write"))
		}},
		{name: "completed before its evidence", rule: ruleEvidence, change: func(s *story) {
			s.move(s.at(1, rack.StepCompleted, s2, "write"), proof(s, s2, rack.ReportedInstalled))
		}},

		{name: "an action that was not started", rule: ruleActions, change: func(s *story) { s.drop(s.at(1, rack.StepStarted, s2, "push")) }},

		{name: "its management link is not open", rule: ruleGates, change: func(s *story) { s.drop(s.at(1, rack.LinkOpen, s2, "")) }},
		{name: "its data link is not open", rule: ruleGates, change: func(s *story) { s.drop(s.at(2, rack.LinkOpen, s2, "")) }},
		{name: "its data link closed long ago", rule: ruleGates, change: func(s *story) {
			i := s.at(1, rack.StepStarted, s2, "ticket")
			s.insert(i, event(rack.LinkClosed, s2, rack.Detail{Link: "tor-1:2"}))
			s.later(i+1, grace+time.Millisecond)
		}},

		{name: "a link is ready before its switch", rule: ruleLinkReady, change: func(s *story) {
			s.move(s.at(1, rack.LinkReady, "tor-1", ""), s.at(1, rack.DeviceReady, "mgmt-1", ""))
		}},
		{name: "a link is ready over one switch of two", rule: ruleLinkReady, change: func(s *story) {
			s.move(s.at(3, rack.LinkReady, s2, ""), s.at(1, rack.DeviceReady, "tor-1", ""))
		}},
		{name: "a link that is no cable", rule: ruleLinkReady, change: func(s *story) { s.events[s.at(1, rack.LinkReady, s2, "")].Detail.Link = "mgmt-1:77" }},

		{name: "a closed link opens", rule: ruleLinkOpen, change: func(s *story) { s.drop(s.at(1, rack.LinkReady, s2, "")) }},
		{name: "a link opens on nothing", rule: ruleLinkOpen, change: func(s *story) { s.drop(s.at(1, rack.LinkOpen, s2, "") - 1) }},
		{name: "a link opens by a row of a table", rule: ruleLinkOpen, change: func(s *story) {
			o := *s.events[s.at(1, rack.LinkOpen, s2, "")-1].Detail.Seen
			o.Source = rack.FromMACTable
			s.events[s.at(1, rack.LinkOpen, s2, "")-1].Detail.Seen = &o
		}},
		{name: "a link of another device opens", rule: ruleLinkOpen, change: func(s *story) { s.events[s.at(1, rack.LinkOpen, s2, "")].Detail.Link = "mgmt-1:3" }},

		{name: "no ticket", rule: ruleTickets, change: func(s *story) { s.drop(s.at(1, rack.TicketIssued, s2, "")) }},
		{name: "two tickets", rule: ruleTickets, change: func(s *story) {
			i := s.at(1, rack.TicketIssued, s2, "")
			e := s.events[i]
			e.Detail.Ticket += "/again"
			s.insert(i+1, e)
		}},
		{name: "the same ticket twice", rule: ruleTickets, change: func(s *story) {
			s.events[s.at(2, rack.TicketIssued, s2, "")].Detail.Ticket = s.events[s.at(1, rack.TicketIssued, s2, "")].Detail.Ticket
		}},
		{name: "a ticket for what crashed in mid-write", rule: ruleTickets, change: func(s *story) {
			i := s.at(1, rack.StepStarted, s2, "write")
			ticket := event(rack.TicketIssued, s2, rack.Detail{Ticket: "r1/server-02/9"})
			ticket.Phase = rack.Installation
			for n, e := range []rack.Event{event(rack.DeviceFailed, s2, rack.Detail{Error: "crashed"}), event(rack.DeviceRetried, s2, rack.Detail{}),
				stepEvent(rack.StepStarted, s2, rack.Installation, "ticket", 2), ticket} {
				s.insert(i+1+n, e)
			}
		}},
		{name: "a ticket in the configuration", rule: ruleTickets, change: func(s *story) {
			s.insert(s.at(1, rack.StepCompleted, s2, "push"), event(rack.TicketIssued, s2, rack.Detail{Ticket: "r1/server-02/9"}))
		}},
		{name: "a ticket while it drains", from: "r1-switch-panic", rule: ruleTickets, change: func(s *story) {
			s.later(s.at(1, rack.TicketIssued, "tor-1", ""), grace+time.Millisecond)
		}},

		{name: "a server is booted first", rule: ruleSwitchesFirst, change: func(s *story) {
			s.move(s.at(1, rack.StepStarted, s2, "boot-device"), s.at(1, rack.DeviceReady, "tor-1", ""))
		}},
		{name: "a server is powered first", rule: ruleSwitchesFirst, change: func(s *story) {
			s.move(s.at(1, rack.StepStarted, s2, "power-on"), s.at(1, rack.DeviceReady, "tor-2", ""))
		}},
		{name: "a server has a ticket first", rule: ruleSwitchesFirst, change: func(s *story) {
			s.move(s.at(1, rack.TicketIssued, s2, ""), s.at(1, rack.DeviceReady, "tor-2", ""))
		}},

		{name: "ready without its last phase", rule: ruleReady, change: func(s *story) { s.drop(s.at(3, rack.PhaseCompleted, s2, "")) }},
		{name: "completed without a server", rule: ruleCompleted, change: func(s *story) { s.drop(s.at(1, rack.DeviceReady, s2, "")) }},
		{name: "completed with a failed switch", rule: ruleCompleted, change: func(s *story) {
			s.insert(len(s.events)-1, event(rack.DeviceFailed, "tor-1", rack.Detail{Error: "fire"}))
		}},
		{name: "completed after it was halted", from: "r1-switch-fault", rule: ruleQuiet, change: func(s *story) { s.add(event(rack.RackCompleted, "", rack.Detail{})) }},
		{name: "completed while it drains", from: "r1-switch-fault", rule: ruleCompleted, change: func(s *story) {
			s.insert(len(s.events)-1, event(rack.RackCompleted, "", rack.Detail{}))
		}},
		{name: "a step while halted", from: "r1-switch-panic", rule: ruleQuiet, change: func(s *story) {
			s.add(stepEvent(rack.StepFailed, "tor-1", rack.Installation, "image-transfer", 1))
		}},
		{name: "a step long after it drains", from: "r1-switch-panic", rule: ruleQuiet, change: func(s *story) {
			s.later(s.at(1, rack.StepStarted, "tor-1", "image-transfer"), grace+time.Millisecond)
		}},
		{name: "a phase without its last step", rule: ruleWholePhase, change: func(s *story) {
			s.drop(s.at(1, rack.StepStarted, s2, "verify"), s.at(1, rack.StepCompleted, s2, "verify"))
		}},
		{name: "a phase while a step runs", rule: ruleWholePhase, change: func(s *story) { s.drop(s.at(1, rack.StepCompleted, s2, "verify")) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			from := x.from
			if from == "" {
				from = "r1-server-fault"
			}
			s := &story{t, record(t, from)}
			x.change(s)
			if !x.raw {
				s.events = renumber(s.events)
			}
			_, err := Prove(example(t, "rack-1"), platform.All(), s.events)
			var v *Violation
			if !errors.As(err, &v) || v.Rule != x.rule {
				t.Fatalf("rule %d is not broken: %v", x.rule, err)
			}
			if line := err.Error(); strings.Contains(line, "\n") || !strings.HasSuffix(line, fmt.Sprintf("(rule %d: %s)", x.rule, Rules()[x.rule-1])) {
				t.Errorf("not a line for people: %q", line)
			}
		})
		covered[x.rule] = true
	}
	for n := range Rules() {
		if !covered[n+1] {
			t.Errorf("nothing breaks rule %d", n+1)
		}
	}
}

// proof is the index of the last observation of a device that proves e.
func proof(s *story, device string, e rack.Evidence) int {
	for i, x := range slices.Backward(s.events) {
		if x.Kind == rack.Observed && x.Device == device && x.Detail.Seen.Proves == e {
			return i
		}
	}
	s.t.Fatalf("nothing proves %s of %s", e, device)
	return 0
}

// What operators may order, what implies evidence, and what has only just
// closed: changed journals that must still hold.
// seenInONIE lets the installation of tor-1 fail at i, and its step be begun again where it
// is completed.
func seenInONIE(s *story, i int) {
	in := rack.Installation
	o := *s.events[s.at(1, rack.Observed, "tor-1", "")].Detail.Seen
	o.Proves = rack.DHCPONIE
	done := s.at(1, rack.StepCompleted, "tor-1", "install")
	s.events[done].Detail.Attempt = 2
	s.insert(done, stepEvent(rack.StepStarted, "tor-1", in, "install", 2))
	failed := stepEvent(rack.StepFailed, "tor-1", in, "install", 1)
	failed.Detail.Error = "back in ONIE"
	s.insert(i, failed)
	s.insert(i, event(rack.Observed, "tor-1", rack.Detail{Seen: &o}))
}

func TestGreen(t *testing.T) {
	in, dis := rack.Installation, rack.Discovery
	again := func(attempt int) []rack.Event {
		id := fmt.Sprintf("r1/tor-1/%d", 3+attempt)
		ticket := event(rack.TicketIssued, "tor-1", rack.Detail{Ticket: id})
		ticket.Phase = in
		return []rack.Event{stepEvent(rack.StepStarted, "tor-1", in, "ticket", attempt), ticket, stepEvent(rack.StepCompleted, "tor-1", in, "ticket", attempt)}
	}
	resumed := event(rack.RackResumed, "", rack.Detail{By: "ada"})
	retried := event(rack.DeviceRetried, "tor-1", rack.Detail{By: "ada"})
	for _, x := range []struct {
		name   string
		from   string
		change func(s *story)
	}{
		{"retried and resumed, counting on", "r1-switch-fault", func(s *story) { s.add(retried, resumed); s.add(again(4)...) }},
		{"retried and resumed, counting from 1", "r1-switch-fault", func(s *story) { s.add(retried, resumed); s.add(again(1)...) }},
		{"retried, its phase starts again", "r1-switch-fault", func(s *story) {
			s.add(retried, resumed, rack.Event{Kind: rack.PhaseStarted, Device: "tor-1", Phase: in})
			s.add(again(4)...)
		}},
		{"retried while it was uncertain, and goes on", "r1-happy", func(s *story) {
			retried.Device = "server-03"
			s.insert(s.at(1, rack.StepStarted, "server-03", "write")+1, retried)
		}},
		{"skipped, then completed", "r1-happy", func(s *story) {
			s.drop(s.at(1, rack.DeviceReady, "server-03", ""))
			s.insert(len(s.events)-1, event(rack.DeviceSkipped, "server-03", rack.Detail{By: "ada"}))
		}},
		{"a run of some devices", "r1-happy", func(s *story) {
			s.events[0].Detail.Only = []string{"mgmt-1", "tor-1", "tor-2", "server-01"}
			s.drop(s.at(1, rack.DeviceReady, "server-03", ""))
		}},
		{"reimaged", "r1-happy", func(s *story) {
			o := *s.events[s.at(1, rack.Observed, "server-03", "")].Detail.Seen
			s.add(event(rack.ReimageOrdered, "server-03", rack.Detail{By: "ada"}), resumed,
				event(rack.Observed, "server-03", rack.Detail{Seen: &o}),
				rack.Event{Kind: rack.PhaseStarted, Device: "server-03", Phase: dis},
				stepEvent(rack.StepStarted, "server-03", dis, "bmc-login", 2), stepEvent(rack.StepCompleted, "server-03", dis, "bmc-login", 2))
		}},
		{"replaced", "r1-happy", func(s *story) {
			o := *s.events[s.at(1, rack.Observed, "server-03", "")].Detail.Seen
			s.add(event(rack.DeviceReplaced, "server-03", rack.Detail{By: "ada"}), resumed,
				event(rack.Observed, "server-03", rack.Detail{Seen: &o}), event(rack.DeviceDiscovered, "server-03", rack.Detail{Seen: &o}),
				rack.Event{Kind: rack.PhaseStarted, Device: "server-03", Phase: dis},
				stepEvent(rack.StepStarted, "server-03", dis, "bmc-login", 1))
		}},
		{"observed while halted", "r1-switch-fault", func(s *story) {
			o := *s.events[s.at(1, rack.Observed, "server-03", "")].Detail.Seen
			s.add(event(rack.Observed, "server-03", rack.Detail{Seen: &o}), event(rack.ComponentAmbiguous, "", rack.Detail{Seen: &o}))
		}},
		{"its data link closed just now", "r1-happy", func(s *story) {
			i := s.at(1, rack.StepStarted, "server-03", "ticket")
			for _, e := range s.events[:i] {
				if e.Kind == rack.LinkOpen && e.Device == "server-03" && e.Detail.Link != "mgmt-1:3" {
					s.insert(i, event(rack.LinkClosed, "server-03", rack.Detail{Link: e.Detail.Link}))
				}
			}
			s.later(i+1, grace-200*time.Millisecond)
		}},
		{"taken for failed, then up with its system", "r1-happy", func(s *story) { seenInONIE(s, proof(s, "tor-1", rack.DHCPNOS)) }},
		{"the report implies the transfers", "r1-happy", func(s *story) {
			i := proof(s, "server-03", rack.ReportedInstalled)
			s.move(i, s.at(1, rack.StepCompleted, "server-03", "boot-loader"))
			s.drop(proof(s, "server-03", rack.FetchedBootLoader))
			s.drop(proof(s, "server-03", rack.FetchedImage))
		}},
		{"the receipt implies everything", "r1-happy", func(s *story) {
			i := proof(s, "server-03", rack.FetchedBootLoader)
			o := *s.events[i].Detail.Seen
			o.Source, o.Proves = rack.FromReceipt, rack.ReceiptFound
			s.events[i].Detail.Seen = &o
			for _, e := range []rack.Evidence{rack.FetchedImage, rack.ReportedInstalled} {
				s.drop(proof(s, "server-03", e))
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &story{t, record(t, x.from)}
			x.change(s)
			if _, err := Prove(example(t, "rack-1"), platform.All(), renumber(s.events)); err != nil {
				t.Error(err)
			}
		})
	}
}

// What an operator orders loosens nothing else.
func TestOrdersAreHeldTo(t *testing.T) {
	for _, x := range []struct {
		name   string
		from   string
		rule   int
		events []rack.Event
	}{
		{"reimaged on evidence of the life before", "r1-happy", ruleEvidence, []rack.Event{
			event(rack.ReimageOrdered, "tor-1", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}),
			{Kind: rack.PhaseStarted, Device: "tor-1", Phase: rack.Discovery},
			stepEvent(rack.StepStarted, "tor-1", rack.Discovery, "onie", 1), stepEvent(rack.StepCompleted, "tor-1", rack.Discovery, "onie", 1)}},
		{"a server while a switch is reimaged", "r1-server-hang", ruleSwitchesFirst, []rack.Event{
			event(rack.ReimageOrdered, "tor-1", rack.Detail{}), event(rack.DeviceRetried, "server-05", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}),
			stepEvent(rack.StepStarted, "server-05", rack.Installation, "ticket", 2)}},
		{"reimaged in the middle", "r1-happy", rulePhases, []rack.Event{
			event(rack.ReimageOrdered, "server-01", rack.Detail{}), {Kind: rack.PhaseStarted, Device: "server-01", Phase: rack.Installation}}},
		{"skipped and worked on", "r1-switch-fault", rulePhases, []rack.Event{
			event(rack.DeviceSkipped, "server-01", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}),
			event(rack.DeviceHeld, "server-01", rack.Detail{})}},
		{"retried with a made-up attempt", "r1-switch-fault", ruleAttempts, []rack.Event{
			event(rack.DeviceRetried, "tor-1", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}),
			stepEvent(rack.StepStarted, "tor-1", rack.Installation, "ticket", 2)}},
		{"retried in the middle of its phase", "r1-switch-fault", ruleSteps, []rack.Event{
			event(rack.DeviceRetried, "tor-1", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}),
			stepEvent(rack.StepStarted, "tor-1", rack.Installation, "install", 4)}},
		{"retried but not resumed", "r1-switch-fault", ruleQuiet, []rack.Event{
			event(rack.DeviceRetried, "tor-1", rack.Detail{}), stepEvent(rack.StepStarted, "tor-1", rack.Installation, "ticket", 4)}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &story{t, record(t, x.from)}
			s.add(x.events...)
			s.later(len(s.events)-1, grace+time.Second)
			_, err := Prove(example(t, "rack-1"), platform.All(), renumber(s.events))
			var v *Violation
			if !errors.As(err, &v) || v.Rule != x.rule {
				t.Errorf("rule %d is not broken: %v", x.rule, err)
			}
		})
	}
}

// OnReimage steps may be absent, and come only after an order.
func TestOnReimage(t *testing.T) {
	platforms := platform.All()
	p := platforms[platform.SimToR]
	p.Steps = slices.Insert(slices.Clone(p.Steps), 0, rack.Step{Name: "back-to-installer", Phase: rack.Discovery, Action: rack.BootInstaller, Limit: time.Minute, OnReimage: true})
	platforms[platform.SimToR] = p
	r := example(t, "rack-1")
	s := &story{t, record(t, "r1-happy")}
	if _, err := Prove(r, platforms, s.events); err != nil {
		t.Errorf("without the step: %v", err)
	}
	start := stepEvent(rack.StepStarted, "tor-1", rack.Discovery, "back-to-installer", 1)
	s.insert(s.at(1, rack.StepStarted, "tor-1", "onie"), start)
	var v *Violation
	if _, err := Prove(r, platforms, renumber(s.events)); !errors.As(err, &v) || v.Rule != ruleSteps {
		t.Errorf("without an order: %v", err)
	}
	s = &story{t, record(t, "r1-happy")}
	s.add(event(rack.ReimageOrdered, "tor-1", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}),
		rack.Event{Kind: rack.PhaseStarted, Device: "tor-1", Phase: rack.Discovery}, start)
	if _, err := Prove(r, platforms, renumber(s.events)); err != nil {
		t.Errorf("after an order: %v", err)
	}
}
