package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tell makes a journal of events, one a second from noon on, from the
// beginning of rack r1. Short stories leave out what a case does not need.
func tell(r *rack.Rack, events ...rack.Event) []rack.Event {
	out := append([]rack.Event{{Kind: rack.RackStarted}}, events...)
	for i := range out {
		out[i].Seq, out[i].Time, out[i].Rack = uint64(i+1), noon.Add(time.Duration(i)*time.Second), r.Name
		if d, ok := r.Device(out[i].Device); ok {
			out[i].Role = d.Role
		}
	}
	return out
}

func seen(device string, proves rack.Evidence) rack.Event {
	return event(rack.Observed, device, rack.Detail{Seen: &rack.Observation{Source: rack.FromHTTP, Device: device, Proves: proves}})
}

func phase(k rack.Kind, device string, p rack.Phase) rack.Event {
	return rack.Event{Kind: k, Device: device, Phase: p}
}

func linkEvent(k rack.Kind, device, near string) rack.Event {
	return event(k, device, rack.Detail{Link: near})
}

func stepFailed(device string, p rack.Phase, step string, attempt int, final bool, why string) rack.Event {
	e := stepEvent(rack.StepFailed, device, p, step, attempt)
	e.Detail.Final, e.Detail.Error = final, why
	if !final {
		e.Detail.Delay = 10 * time.Second
	}
	return e
}

func TestWhy(t *testing.T) {
	const s3 = "server-03"
	in, dis, conf := rack.Installation, rack.Discovery, rack.Configuration
	ready := func(device string) rack.Event { return event(rack.DeviceReady, device, rack.Detail{}) }
	failed := func(device, why string) rack.Event {
		return event(rack.DeviceFailed, device, rack.Detail{Error: why})
	}
	held := func(step, why string) rack.Event {
		e := stepEvent(rack.DeviceHeld, s3, dis, step, 0)
		e.Detail.Reason = why
		return e
	}
	drains := func(d rack.Detail, device string) rack.Event { return event(rack.RackDraining, device, d) }
	ticket := event(rack.TicketIssued, s3, rack.Detail{Ticket: "r1/server-03/1"})
	refused := seen(s3, rack.ReportedRefused)
	refused.Detail.Seen.Holds = "foreign:ext4"
	installing := []rack.Event{seen(s3, ""), phase(rack.PhaseStarted, s3, in), stepEvent(rack.StepStarted, s3, in, "ticket", 1), ticket,
		stepEvent(rack.StepCompleted, s3, in, "ticket", 1), stepEvent(rack.StepStarted, s3, in, "write", 1)}
	waiting := stepEvent(rack.StepWaiting, s3, in, "write", 1)
	then := func(a []rack.Event, b ...rack.Event) []rack.Event { return append(append([]rack.Event{}, a...), b...) }
	torInstalls := []rack.Event{ready("mgmt-1"), seen("tor-1", rack.DHCPONIE), phase(rack.PhaseStarted, "tor-1", in), stepEvent(rack.StepStarted, "tor-1", in, "install", 2), ready("tor-2")}

	for _, x := range []struct {
		name   string
		device string // empty: server-03
		events []rack.Event
		want   string // the lines, as they are
	}{
		{"not seen, its route is closed", "", []rack.Event{seen("mgmt-1", ""), phase(rack.PhaseStarted, "mgmt-1", conf), stepEvent(rack.StepStarted, "mgmt-1", conf, "push", 1)},
			`server-03: not seen yet: no route to it is ready
  link mgmt-1:3 is closed: mgmt-1 on its route is not ready: configuration, step push, attempt 1, since 12:00:03 UTC (event 4)`},
		{"not seen, its route is ready", "", []rack.Event{ready("mgmt-1"), linkEvent(rack.LinkReady, s3, "mgmt-1:3")},
			`server-03: not seen yet; its route is ready since 12:00:02 UTC, and it is looked for until 12:10:02 UTC (10m0s; a simulation gives up sooner)
  no DHCP packet, no answer of a BMC and no row of a MAC table named it through its cable at mgmt-1:3
  next: check its power and its cable at mgmt-1:3`},
		{"not seen, and somebody ambiguous was", "mgmt-1", []rack.Event{event(rack.ComponentAmbiguous, "", rack.Detail{Reason: "two fit"})},
			`mgmt-1: not seen yet; its route is ready since 12:00:00 UTC, and it is looked for until 12:10:00 UTC (10m0s; a simulation gives up sooner)
  no DHCP packet, no answer of a BMC and no row of a MAC table named it through the agent's cable
  a component that may be it was seen (event 2): two fit
  next: compare that component with the rack file, then: rackreach bind mgmt-1`},
		{"seen only", "", []rack.Event{seen(s3, "")},
			`server-03: seen since 12:00:01 UTC (event 2), nothing was begun`},
		{"held by a switch", "", then(torInstalls, seen(s3, ""), linkEvent(rack.LinkOpen, s3, "mgmt-1:3"), linkEvent(rack.LinkReady, s3, "tor-2:3"),
			held("boot-device", "not all switches of the rack are ready")),
			`server-03: held since 12:00:09 UTC (event 10) before step boot-device of its discovery: not all switches of the rack are ready
  tor-1 is not ready: installation, step install, attempt 2, since 12:00:04 UTC (event 5)`},
		{"held by a failed attempt of a switch", "", then(torInstalls, stepFailed("tor-1", in, "install", 2, false, "back in ONIE"), seen(s3, ""), linkEvent(rack.LinkOpen, s3, "mgmt-1:3"),
			linkEvent(rack.LinkReady, s3, "tor-2:3"), held("boot-device", "not all switches of the rack are ready")),
			`server-03: held since 12:00:10 UTC (event 11) before step boot-device of its discovery: not all switches of the rack are ready
  tor-1 is not ready: installation, step install failed at 12:00:06 UTC: back in ONIE`},
		{"held by a silent cable", "", []rack.Event{ready("mgmt-1"), linkEvent(rack.LinkReady, s3, "mgmt-1:3"), seen(s3, ""), held("bmc-login", "nothing was heard yet through its management cable")},
			`server-03: held since 12:00:04 UTC (event 5) before step bmc-login of its discovery: nothing was heard yet through its management cable
  link mgmt-1:3 is ready since 12:00:02 UTC, but nothing was heard through it: check that cable`},
		{"held by a link that closed again", "", []rack.Event{ready("mgmt-1"), linkEvent(rack.LinkOpen, s3, "mgmt-1:3"), linkEvent(rack.LinkClosed, s3, "mgmt-1:3"), seen(s3, ""), held("bmc-login", "nothing was heard yet through its management cable")},
			`server-03: held since 12:00:05 UTC (event 6) before step bmc-login of its discovery: nothing was heard yet through its management cable
  link mgmt-1:3 was closed at 12:00:03 UTC: a switch on its route was seen booting again`},
		{"held by nothing any more", "", []rack.Event{ready("mgmt-1"), linkEvent(rack.LinkOpen, s3, "mgmt-1:3"), seen(s3, ""), held("bmc-login", "nothing was heard yet through its management cable")},
			`server-03: held since 12:00:04 UTC (event 5) before step bmc-login of its discovery: nothing was heard yet through its management cable
  everything that it needs holds since; it goes on at once`},
		{"a step runs", "", installing,
			`server-03: installation: step write, attempt 1, since 12:00:06 UTC (event 7)
  it waits for the installer's report, until 12:30:06 UTC
  its ticket r1/server-03/1 is open`},
		{"a step runs again", "", then(installing, stepFailed(s3, in, "write", 1, false, "the device reported: no disk"), stepEvent(rack.StepStarted, s3, in, "ticket", 2)),
			`server-03: installation: step ticket, attempt 2, since 12:00:08 UTC (event 9)
  it waits for the answer to ticket, until 12:01:08 UTC
  attempt 1 of step write failed at 12:00:07 UTC (event 8): the device reported: no disk`},
		{"a step is to be tried again", "", then(installing, stepFailed(s3, in, "write", 1, false, "the device reported: no disk")),
			`server-03: installation: step ticket is tried again at 12:00:17 UTC
  attempt 1 of step write failed at 12:00:07 UTC (event 8): the device reported: no disk`},
		{"a step is over its time", "", then(installing, waiting),
			`server-03: installation: step write, attempt 1, since 12:00:06 UTC (event 7)
  it waits for the installer's report
  its time was up at 12:00:07 UTC; it may be writing, so it is left alone and given up at 12:30:07 UTC only
  its ticket r1/server-03/1 is open`},
		{"its driver crashed", "", then(installing, event(rack.DeviceCrashed, s3, rack.Detail{Error: "nil pointer"})),
			`server-03: installation: step write, attempt 1, since 12:00:06 UTC (event 7)
  it waits for the installer's report, until 12:30:06 UTC
  its ticket r1/server-03/1 is open
  the code that drives it crashed at 12:00:07 UTC (event 8) and took it up again from the journal: nil pointer`},
		{"its last attempt failed just now", "", then(installing, stepFailed(s3, in, "write", 1, true, "no")),
			`server-03: installation: step write failed for good at 12:00:07 UTC: no
  attempt 1 of step write failed at 12:00:07 UTC (event 8): no`},
		{"failed", "", then(installing, stepFailed(s3, in, "write", 1, true, "no disk"), failed(s3, "installation failed at step write: no disk")),
			`server-03: failed since 12:00:08 UTC (event 9): installation failed at step write: no disk
  step write failed for good in attempt 1 (event 8): no disk
  next: mend what it says, then: rackreach retry server-03`},
		{"failed, its disk holds something", "", then(installing, refused, stepFailed(s3, in, "write", 1, true, "refused"), failed(s3, "refused")),
			`server-03: failed since 12:00:09 UTC (event 10): refused
  step write failed for good in attempt 1 (event 9): refused
  its disk holds foreign:ext4, which its job did not name, so nothing was overwritten
  next: to overwrite that: rackreach reimage server-03`},
		{"failed, it may be writing", "", then(installing, waiting, stepFailed(s3, in, "write", 1, true, "no report within 1h"), failed(s3, "no report")),
			`server-03: failed since 12:00:09 UTC (event 10): no report
  step write failed for good in attempt 1 (event 9): no report within 1h
  its time ran out in a step in which it may have been writing: it may still be writing, so it was not power-cycled
  next: look at its console; once it is at rest: rackreach reimage server-03`},
		{"failed, over its time but with a word", "", then(installing, waiting, seen(s3, rack.ReportedFailed), stepFailed(s3, in, "write", 1, true, "no disk"), failed(s3, "no disk")),
			`server-03: failed since 12:00:10 UTC (event 11): no disk
  step write failed for good in attempt 1 (event 10): no disk
  next: mend what it says, then: rackreach retry server-03`},
		{"failed, never seen", "", []rack.Event{ready("mgmt-1"), linkEvent(rack.LinkReady, s3, "mgmt-1:3"), stepFailed(s3, dis, "first-contact", 1, true, "it was never seen"), failed(s3, "it was never seen")},
			`server-03: failed since 12:00:04 UTC (event 5): it was never seen
  next: check its power and its cable at mgmt-1:3, then: rackreach retry server-03`},
		{"failed, crashed too often", "", then(installing, event(rack.DeviceCrashed, s3, rack.Detail{Error: "nil"}), failed(s3, "nil (driven again 2 times)")),
			`server-03: failed since 12:00:08 UTC (event 9): nil (driven again 2 times)
  the code that drives it crashed before, at event 8: nil
  next: mend what it says, then: rackreach retry server-03`},
		{"failed, a switch", "tor-1", then(torInstalls, stepFailed("tor-1", in, "install", 2, true, "in ONIE"), failed("tor-1", "in ONIE"), drains(rack.Detail{Error: "in ONIE"}, "tor-1")),
			`tor-1: failed since 12:00:07 UTC (event 8): in ONIE
  step install failed for good in attempt 2 (event 7): in ONIE
  it is a switch, so the rack stopped at this point: nothing behind it can be trusted
  next: mend what it says, then: rackreach retry tor-1, then: rackreach resume`},
		{"retried", "", then(installing, stepFailed(s3, in, "write", 1, true, "no"), failed(s3, "no"), event(rack.DeviceRetried, s3, rack.Detail{By: "ada"})),
			`server-03: installation, before step ticket`},
		{"reimage ordered after the end", "", []rack.Event{seen(s3, ""), ready(s3), event(rack.RackCompleted, "", rack.Detail{}), event(rack.ReimageOrdered, s3, rack.Detail{By: "ada"})},
			`server-03: the run is over, and it is to be done again: seen since 12:00:01 UTC (event 2), nothing was begun
  next: rackreach resume`},
		{"skipped", "", []rack.Event{event(rack.DeviceSkipped, s3, rack.Detail{By: "ada", Reason: "it burns"})},
			`server-03: skipped, ordered by ada: it burns, since 12:00:01 UTC (event 2)
  next: nothing: this run leaves it as it is`},
		{"halted by a switch", "", then(torInstalls, seen(s3, ""), failed("tor-1", "in ONIE"), drains(rack.Detail{Error: "in ONIE"}, "tor-1"), event(rack.RackHalted, "tor-1", rack.Detail{Error: "in ONIE"})),
			`server-03: the rack is halted; it was stopped at 12:00:08 UTC (event 9) by tor-1: in ONIE
  server-03 was left at: seen since 12:00:06 UTC (event 7), nothing was begun
  next: rackreach why tor-1, then: rackreach retry tor-1, then: rackreach resume`},
		{"halted, the switch is to be tried again", "", then(torInstalls, failed("tor-1", "in ONIE"), drains(rack.Detail{Error: "in ONIE"}, "tor-1"), event(rack.DeviceRetried, "tor-1", rack.Detail{})),
			`server-03: the rack is draining; it was stopped at 12:00:07 UTC (event 8) by tor-1: in ONIE
  server-03 was left at: not seen yet
  next: rackreach resume`},
		{"halted by an operator", "", then(installing, drains(rack.Detail{By: "ada", Reason: "a fan is loud"}, "")),
			`server-03: the rack is draining; it was stopped at 12:00:07 UTC (event 8), ordered by ada: a fan is loud
  server-03 was left at: installation, step write, attempt 1, since 12:00:06 UTC (event 7)
  its ticket r1/server-03/1 is open: what it is installing is served to its end
  next: rackreach resume`},
		{"resumed", "", then(torInstalls, drains(rack.Detail{By: "ada"}, ""), event(rack.RackHalted, "", rack.Detail{}), event(rack.RackResumed, "", rack.Detail{}), linkEvent(rack.LinkReady, s3, "mgmt-1:3")),
			`server-03: not seen yet; its route is ready since 12:00:09 UTC, and it is looked for until 12:10:09 UTC (10m0s; a simulation gives up sooner)
  no DHCP packet, no answer of a BMC and no row of a MAC table named it through its cable at mgmt-1:3
  next: check its power and its cable at mgmt-1:3`},
		{"not in this run", "", []rack.Event{event(rack.RackResumed, "", rack.Detail{Only: []string{"tor-1", "tor-2"}})},
			`server-03: not to be imaged in this run
  the run is limited to tor-1, tor-2
  next: rackreach resume --all: it images the others; or name some with --only`},
		{"ready", "", then(installing, seen(s3, rack.ReportedInstalled), stepEvent(rack.StepCompleted, s3, in, "write", 1), ready(s3),
			event(rack.DeviceFinding, s3, rack.Detail{Reason: "nothing was heard through tor-2:3: check that cable"})),
			`server-03: ready since 12:00:09 UTC (event 10)
  installation: the device's own report: installed (event 8, by http)
  finding (event 11): nothing was heard through tor-2:3: check that cable`},
	} {
		t.Run(x.name, func(t *testing.T) {
			r, device := example(t, "rack-1"), x.device
			if device == "" {
				device = s3
			}
			got, err := Why(r, platform.All(), tell(r, x.events...), device)
			if err != nil {
				t.Fatal(err)
			}
			if text := joined(got.Lines()); text != x.want {
				t.Errorf("got\n%s\nwant\n%s", text, x.want)
			}
			if got.Device != device || got.Status == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWhyOfNothing(t *testing.T) {
	r := example(t, "rack-1")
	if _, err := Why(r, platform.All(), nil, "server-99"); err == nil || !strings.Contains(err.Error(), `rack r1 has no device "server-99": its devices are mgmt-1, tor-1`) {
		t.Errorf("a device that is not there: %v", err)
	}
	x, err := Why(r, platform.All(), nil, "server-03")
	if err != nil || x.Summary != "the imaging of rack r1 has not begun" {
		t.Errorf("%+v, %v", x, err)
	}
}

// Why has something to say of every device after every event of real journals.
func TestWhyAtEveryMoment(t *testing.T) {
	for _, x := range recorded {
		r, events := example(t, x.rack), record(t, x.name)
		l := newLedger(r, platform.All())
		for _, e := range events {
			l.enter(e)
			for name, d := range l.lives {
				if got := l.why(d); got.Summary == "" || got.Status == "" {
					t.Fatalf("%s, event %d, %s: %+v", x.name, e.Seq, name, got)
				}
			}
		}
	}
}

// What a device was made to do stands behind why it is where it is, and in its story.
func TestWhyNamesRecoveries(t *testing.T) {
	r := example(t, "rack-1")
	again := stepFailed("server-03", rack.Discovery, "network-boot", 1, false, "silent after its OFFER")
	again.Detail.Recovery = rack.PowerCycled
	events := tell(r, seen("server-03", rack.DHCPBMC), again, event(rack.RecoveryMade, "server-03", rack.Detail{Recovery: rack.PowerCut}))
	x, err := Why(r, platform.All(), events, "server-03")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"recovery power-cut, 1 times: the host did not shut itself down", "recovery power-cycled, 1 times: "} {
		if !strings.Contains(joined(x.Lines()), want) {
			t.Errorf("there is no %q in\n%s", want, joined(x.Lines()))
		}
	}
	s, err := Timeline(r, platform.All(), events, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tried again in 10s, recovery power-cycled: silent after its OFFER", "recovery power-cut: the host did not shut itself down, its power was cut"} {
		if !strings.Contains(joined(s.Lines()), want) {
			t.Errorf("there is no %q in\n%s", want, joined(s.Lines()))
		}
	}
}
