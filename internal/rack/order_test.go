package rack_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// ready brings a rack to where every switch and server-01 are ready.
func ready(t *testing.T) *story {
	s := tell(t)
	s.event(rack.RackStarted, "", rack.Detail{Run: "x7"})
	for _, d := range []string{"mgmt-1", "tor-1", "tor-2", "inter-rack-1", "server-01"} {
		s.seen(d, rack.Observation{Source: rack.FromDHCP})
		s.event(rack.TicketIssued, d, rack.Detail{Ticket: "r2/" + d + "/1"})
		s.event(rack.DeviceReady, d, rack.Detail{})
	}
	return s
}

// TestOrders: what each verb makes of a rack, or why it is refused.
func TestOrders(t *testing.T) {
	fail := func(s *story, d string) {
		s.seen(d, rack.Observation{Source: rack.FromBMC})
		s.event(rack.DeviceFailed, d, rack.Detail{Error: "no luck"})
	}
	installing := func(s *story, d, step string) {
		s.seen(d, rack.Observation{Source: rack.FromBMC})
		s.event(rack.PhaseStarted, d, rack.Detail{})
		s.event(rack.TicketIssued, d, rack.Detail{Ticket: "r2/" + d + "/1"})
		s.event(rack.StepStarted, d, rack.Detail{Step: step})
	}
	for _, tt := range []struct {
		name  string
		story func(*story)
		order rack.Order
		want  string // the kind of the event, or "! " and a part of the refusal
	}{
		{"identify", nil, rack.Order{Verb: rack.Identify, Device: "server-02"}, "light-on"},
		{"identify while the rack drains", func(s *story) { s.event(rack.RackDraining, "", rack.Detail{}) }, rack.Order{Verb: rack.IdentifyOff, Device: "server-02"}, "light-off"},
		{"identify of what has no BMC", nil, rack.Order{Verb: rack.Identify, Device: "tor-1"}, "! it has no BMC"},
		{"retry of a failed server", func(s *story) { fail(s, "server-02") }, rack.Order{Verb: rack.Retry, Device: "server-02"}, "device-retried"},
		{"retry of a skipped server", func(s *story) { s.event(rack.DeviceSkipped, "server-02", rack.Detail{}) }, rack.Order{Verb: rack.Retry, Device: "server-02"}, "device-retried"},
		{"retry of what has not failed", nil, rack.Order{Verb: rack.Retry, Device: "server-01"}, "! it has not failed, it is ready"},
		{"retry of what may be writing", func(s *story) {
			installing(s, "server-02", "write")
			s.event(rack.StepFailed, "server-02", rack.Detail{Step: "write", Final: true, Writing: true})
			fail(s, "server-02")
		}, rack.Order{Verb: rack.Retry, Device: "server-02"}, "! it may still be writing"},
		{"retry of what was refused", func(s *story) {
			installing(s, "server-02", "boot-loader")
			s.seen("server-02", rack.Observation{Source: rack.FromHTTP, Proves: rack.ReportedRefused, Holds: "foreign:ext4"})
			fail(s, "server-02")
		}, rack.Order{Verb: rack.Retry, Device: "server-02"}, "! its disk holds foreign:ext4"},
		{"retry of what was skipped since, and may be writing", func(s *story) {
			installing(s, "server-02", "write")
			s.event(rack.StepFailed, "server-02", rack.Detail{Step: "write", Final: true, Writing: true})
			fail(s, "server-02")
			s.event(rack.DeviceSkipped, "server-02", rack.Detail{})
		}, rack.Order{Verb: rack.Retry, Device: "server-02"}, "! it may still be writing"},
		{"retry of what was refused, and skipped since", func(s *story) {
			installing(s, "server-02", "boot-loader")
			s.seen("server-02", rack.Observation{Source: rack.FromHTTP, Proves: rack.ReportedRefused, Holds: "foreign:ext4"})
			fail(s, "server-02")
			s.event(rack.DeviceSkipped, "server-02", rack.Detail{})
		}, rack.Order{Verb: rack.Retry, Device: "server-02"}, "! its disk holds foreign:ext4"},
		{"retry of what crashed while it may have been writing", func(s *story) {
			installing(s, "server-02", "write")
			fail(s, "server-02")
		}, rack.Order{Verb: rack.Retry, Device: "server-02"}, "! it may still be writing"},
		{"retry of what was skipped, and has ended its job since", func(s *story) {
			installing(s, "server-02", "write")
			s.event(rack.DeviceSkipped, "server-02", rack.Detail{})
			s.seen("server-02", rack.Observation{Source: rack.FromHTTP, Proves: rack.ReportedInstalled})
		}, rack.Order{Verb: rack.Retry, Device: "server-02"}, "device-retried"},
		{"no such device", nil, rack.Order{Verb: rack.Retry, Device: "toaster"}, "! no such device"},
		{"any verb while it drains", func(s *story) { s.event(rack.RackDraining, "tor-1", rack.Detail{}) }, rack.Order{Verb: rack.Retry, Device: "tor-1"}, "! is being halted"},

		{"skip of a server", nil, rack.Order{Verb: rack.Skip, Device: "server-02", Reason: "no power"}, "device-skipped"},
		{"skip without a reason", nil, rack.Order{Verb: rack.Skip, Device: "server-02"}, "! no reason"},
		{"skip of what may be writing", func(s *story) { installing(s, "server-02", "write") }, rack.Order{Verb: rack.Skip, Device: "server-02", Reason: "x"}, "! it may be writing right now"},
		{"skip of what nobody drives since a salvage", func(s *story) { installing(s, "server-02", "write"); s.run.Salvaged = s.seq }, rack.Order{Verb: rack.Skip, Device: "server-02", Reason: "x"}, "device-skipped"},
		{"skip of what waits to fetch its installer", func(s *story) { installing(s, "server-02", "boot-loader") }, rack.Order{Verb: rack.Skip, Device: "server-02", Reason: "x"}, "device-skipped"},
		{"skip of what is ready", nil, rack.Order{Verb: rack.Skip, Device: "server-01", Reason: "x"}, "! it is ready"},
		{"skip of a ToR switch", nil, rack.Order{Verb: rack.Skip, Device: "tor-1", Reason: "x"}, "! would stay unreachable: server-01, server-02"},
		{"skip of the management switch", nil, rack.Order{Verb: rack.Skip, Device: "mgmt-1", Reason: "x"}, "! would stay unreachable: tor-1, tor-2, inter-rack-1, server-01, server-02"},
		{"skip of an inter-rack switch", nil, rack.Order{Verb: rack.Skip, Device: "inter-rack-1", Reason: "x"}, "! no server is imaged before every switch is ready"},

		{"reimage of what is ready", nil, rack.Order{Verb: rack.Reimage, Device: "server-01"}, "reimage-ordered receipt:x7/r2/server-01/1"},
		{"reimage of what was never seen", nil, rack.Order{Verb: rack.Reimage, Device: "server-02"}, "! it was never seen"},
		{"reimage of what may be writing", func(s *story) { installing(s, "server-02", "write") }, rack.Order{Verb: rack.Reimage, Device: "server-02"}, "! it may be writing right now"},
		{"reimage of what nobody drives since a salvage", func(s *story) { installing(s, "server-02", "write"); s.run.Salvaged = s.seq }, rack.Order{Verb: rack.Reimage, Device: "server-02"}, "reimage-ordered"},
		{"reimage of what is driven again since a salvage", func(s *story) {
			installing(s, "server-02", "write")
			s.run.Salvaged = s.seq
			s.event(rack.DeviceRetried, "server-02", rack.Detail{})
		}, rack.Order{Verb: rack.Reimage, Device: "server-02"}, "! it may be writing right now"},
		{"reimage of a switch that others are installed through", func(s *story) { installing(s, "server-02", "write") }, rack.Order{Verb: rack.Reimage, Device: "tor-1"}, "! server-02 is being installed through it"},
		{"reimage of what is being configured", func(s *story) {
			s.seen("server-02", rack.Observation{Source: rack.FromBMC})
			s.run.Apply(rack.Event{Device: "server-02", Kind: rack.PhaseStarted, Phase: rack.Configuration})
			s.run.Apply(rack.Event{Device: "server-02", Kind: rack.StepStarted, Phase: rack.Configuration, Detail: rack.Detail{Step: "push", Attempt: 1}})
		}, rack.Order{Verb: rack.Reimage, Device: "server-02"}, "! its configuration is being pushed"},
		{"reimage of what was being configured before a salvage", func(s *story) {
			s.seen("server-02", rack.Observation{Source: rack.FromBMC})
			s.run.Apply(rack.Event{Device: "server-02", Kind: rack.PhaseStarted, Phase: rack.Configuration})
			s.run.Apply(rack.Event{Device: "server-02", Kind: rack.StepStarted, Phase: rack.Configuration, Detail: rack.Detail{Step: "push", Attempt: 1}})
			s.run.Salvaged = max(s.seq, 1)
		}, rack.Order{Verb: rack.Reimage, Device: "server-02"}, "reimage-ordered"},
		{"reimage of what is protected", func(s *story) { s.run.Rack.Devices[4].Protect = true }, rack.Order{Verb: rack.Reimage, Device: "server-01"}, "! it is protected"},
		{"replace", nil, rack.Order{Verb: rack.Replace, Device: "server-01"}, "device-replaced"},

		{"bind of a MAC", nil, rack.Order{Verb: rack.Bind, Device: "server-02", MAC: "52-54-00-00-00-0A"}, "device-bound 52:54:00:00:00:0a"},
		{"bind of a serial", nil, rack.Order{Verb: rack.Bind, Device: "server-02", Serial: "SN42"}, "device-bound SN42"},
		{"bind of a group address", nil, rack.Order{Verb: rack.Bind, Device: "server-02", MAC: "01:00:5e:00:00:01"}, "! is not the MAC of an interface"},
		{"bind of zero", nil, rack.Order{Verb: rack.Bind, Device: "server-02", MAC: "00:00:00:00:00:00"}, "! is not the MAC of an interface"},
		{"bind of five pairs", nil, rack.Order{Verb: rack.Bind, Device: "server-02", Serial: "52:54:00:12:34"}, "! neither a whole MAC nor a serial number"},
		{"bind of a MAC with a slip", nil, rack.Order{Verb: rack.Bind, Device: "server-02", Serial: "52-54-00-12-34-5g"}, "! neither a whole MAC nor a serial number"},
		{"bind of a serial with dashes", nil, rack.Order{Verb: rack.Bind, Device: "server-02", Serial: "AB-12-0042"}, "device-bound AB-12-0042"},
		{"bind of a serial with a colon", nil, rack.Order{Verb: rack.Bind, Device: "server-02", Serial: "SN:0042"}, "device-bound SN:0042"},
		{"bind of nothing", nil, rack.Order{Verb: rack.Bind, Device: "server-02"}, "! one MAC or one serial"},
		{"bind of what belongs to another", func(s *story) { s.seen("server-01", rack.Observation{Source: rack.FromDHCP, MAC: "52:54:00:00:00:0b"}) },
			rack.Order{Verb: rack.Bind, Device: "server-02", MAC: "52:54:00:00:00:0b"}, "! belongs to server-01"},

		{"halt", nil, rack.Order{Verb: rack.HaltNow, By: "ada"}, "rack-draining halted by ada"},
		{"halt of what is halted", func(s *story) { s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.HaltNow}, "! it is halted"},
		{"resume of what runs", nil, rack.Order{Verb: rack.Resume}, ""},
		{"resume", func(s *story) { s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.Resume}, "rack-resumed"},
		{"resume of more than what runs", func(s *story) { s.run.Only = []string{"mgmt-1"} }, rack.Order{Verb: rack.Resume, Only: []string{"tor-1", "mgmt-1"}}, "rack-resumed tor-1 mgmt-1"},
		{"resume of all where a part runs", func(s *story) { s.run.Only = []string{"mgmt-1"} }, rack.Order{Verb: rack.Resume, All: true}, "rack-resumed"},
		{"resume of a part that runs", func(s *story) { s.run.Only = []string{"mgmt-1"} }, rack.Order{Verb: rack.Resume}, ""},
		{"resume of a part that was halted", func(s *story) { s.run.Only = []string{"server-02"}; s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.Resume}, "rack-resumed server-02"},
		{"resume of a part that is done", func(s *story) { s.run.Only = []string{"mgmt-1"}; s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.Resume}, "! only mgmt-1 was asked for, and nothing of that is left to do"},
		{"resume of another part", func(s *story) { s.run.Only = []string{"mgmt-1"}; s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.Resume, Only: []string{"tor-1"}}, "rack-resumed tor-1"},
		{"resume of all after a part", func(s *story) { s.run.Only = []string{"mgmt-1"}; s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.Resume, All: true}, "rack-resumed"},
		{"resume of all and of a part", func(s *story) { s.event(rack.RackHalted, "", rack.Detail{}) }, rack.Order{Verb: rack.Resume, All: true, Only: []string{"tor-1"}}, "! and only some of them"},
		{"resume of less than what runs", func(s *story) { s.run.Only = []string{"mgmt-1", "tor-1"} }, rack.Order{Verb: rack.Resume, Only: []string{"tor-1"}}, "! mgmt-1 is being imaged"},
		{"resume with a failed switch", func(s *story) { fail(s, "tor-1"); s.event(rack.RackHalted, "tor-1", rack.Detail{}) }, rack.Order{Verb: rack.Resume}, "! tor-1 has failed: no luck. Next: mend tor-1, then: rackreach retry tor-1"},
		{"resume after a salvage", func(s *story) { s.event(rack.RackHalted, "", rack.Detail{}); s.run.Salvaged = s.seq }, rack.Order{Verb: rack.Resume}, "! server-02 is uncertain"},
		{"resume after a salvage and a word for it", func(s *story) {
			s.event(rack.RackHalted, "", rack.Detail{})
			s.run.Salvaged = s.seq
			s.event(rack.DeviceRetried, "server-02", rack.Detail{})
		}, rack.Order{Verb: rack.Resume}, "rack-resumed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ready(t)
			if tt.story != nil {
				tt.story(s)
			}
			before := s.run.Device(tt.order.Device)
			events, err := s.run.Obey(tt.order)
			got := ""
			var no *rack.Refusal
			switch {
			case errors.As(err, &no):
				got = "! " + err.Error()
				if no.Next == "" {
					t.Error("it does not say what to do next")
				}
			case err != nil:
				t.Fatal(err)
			case len(events) == 1:
				e := events[0]
				got = string(e.Kind) + " " + e.Detail.Overwrites + e.Detail.Error + strings.Join(e.Detail.Only, " ")
				if e.Detail.Seen != nil {
					got += e.Detail.Seen.MAC + e.Detail.Seen.Serial
				}
			}
			want, refusal := strings.CutPrefix(tt.want, "! ")
			if refusal != (no != nil) || !strings.Contains(got, want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if after := s.run.Device(tt.order.Device); after != before {
				t.Errorf("deciding changed the run: %+v", after)
			}
		})
	}
}

// TestWordsOfAnOrderAreOneLine: they end up in the lines that people read.
func TestWordsOfAnOrderAreOneLine(t *testing.T) {
	events, err := ready(t).run.Obey(rack.Order{Verb: rack.Skip, Device: "server-02", By: "a\nda", Reason: "two\nlines \x1b[31mred\xff" + strings.Repeat("x", 1000)})
	if err != nil {
		t.Fatal(err)
	}
	d := events[0].Detail
	if d.By != "a da" || !strings.HasPrefix(d.Reason, "two lines  [31mred?xx") || len(d.Reason) > 500 {
		t.Errorf("%q, %q", d.By, d.Reason)
	}
}

// TestReimagedSwitchClosesItsLinks: what lies behind a switch that starts over
// is out of reach until it is ready again.
func TestReimagedSwitchClosesItsLinks(t *testing.T) {
	s := ready(t)
	s.gates("server-01", rack.ManagementReady, rack.SwitchesReady, rack.DataReady)
	s.event(rack.ReimageOrdered, "tor-1", rack.Detail{})
	if got := s.run.Link(port(t, "tor-1:1")); got != rack.LinkIsClosed {
		t.Errorf("tor-1:1 is %s", got)
	}
	s.event(rack.DeviceReady, "tor-1", rack.Detail{})
	if got := s.run.Link(port(t, "tor-1:1")); got != rack.LinkIsReady {
		t.Errorf("tor-1:1 is %s once tor-1 is ready again", got)
	}
}

// TestReimagedSwitchIsNoFindingOfServers: what was heard through their cables
// before it started over still holds of the cables.
func TestReimagedSwitchIsNoFindingOfServers(t *testing.T) {
	s := ready(t)
	again := func() {
		s.event(rack.ReimageOrdered, "server-01", rack.Detail{})
		s.event(rack.DeviceReady, "server-01", rack.Detail{})
	}
	for _, c := range s.run.Cabling.Ends("server-01") {
		s.event(rack.LinkOpen, "server-01", rack.Detail{Link: c.Near.String()})
	}
	again()
	s.event(rack.ReimageOrdered, "mgmt-1", rack.Detail{})
	s.event(rack.DeviceReady, "mgmt-1", rack.Detail{})
	if got := s.run.Unproven("server-01"); got != "" {
		t.Errorf("a finding of what was proven: %s", got)
	}
	again()
	if got := s.run.Unproven("server-01"); got == "" {
		t.Error("no finding of a server that was ready again before its links were heard")
	}
}
