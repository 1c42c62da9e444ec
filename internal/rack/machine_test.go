package rack_test

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// shell is what a DeviceActor does, without actors: it journals into a slice.
type shell struct {
	device  *rack.Device
	machine *rack.Machine
	events  []rack.Event
	open    map[rack.Gate]bool
	against map[rack.Network]string
	out     strings.Builder
}

var testImage = rack.Image{Name: "test-image", Digest: "sha256:00", Size: 1}

func newShell(role rack.Role) *shell {
	of := map[rack.Role]string{rack.ManagementSwitch: platform.SimManagement, rack.ToRSwitch: platform.SimToR, rack.InterRackSwitch: platform.SimSpine, rack.Server: platform.SimServer}
	s := &shell{device: &rack.Device{Name: "it", Role: role, Platform: of[role]}, open: map[rack.Gate]bool{}}
	s.machine = rack.NewMachine("r1", s.device, platform.All()[s.device.Platform], testImage)
	return s
}

func (s *shell) journal(e rack.Event) {
	e.Seq = uint64(len(s.events) + 1)
	s.events = append(s.events, e)
	s.machine.Apply(e)
}

// drive does what the shell's loop is documented to do and writes down what it saw.
func (s *shell) drive(in rack.Input) {
	for range 1000 {
		events, commands := s.machine.Step(in)
		for _, e := range events {
			s.journal(e)
			fmt.Fprintln(&s.out, describe(e))
		}
		for _, c := range commands {
			switch c.Kind {
			case rack.RaiseFault:
				fmt.Fprintf(&s.out, "  ! fault: %s\n", c.Error)
			case rack.Do:
				fmt.Fprintf(&s.out, "  > do %s (attempt %d)\n", c.Step.Name, c.Attempt)
			default:
				fmt.Fprintf(&s.out, "  > %s %s in %s\n", c.Kind, c.Step.Name, c.After)
			}
		}
		if len(events) == 0 {
			return
		}
		in = rack.Input{Kind: rack.Woken}
	}
	panic("the machine does not come to rest")
}

func describe(e rack.Event) string {
	parts := []string{string(e.Kind)}
	for _, p := range []string{string(e.Phase), e.Detail.Step, e.Detail.Ticket, e.Detail.Overwrites, e.Detail.Reason, e.Detail.Error} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if e.Detail.Recovery != "" {
		parts = append(parts, "(recovery "+string(e.Detail.Recovery)+")")
	}
	if e.Detail.Writing {
		parts = append(parts, "(it may be writing)")
	}
	if e.Detail.Final {
		parts = append(parts, "(no attempt is left)")
	}
	return strings.Join(parts, " · ")
}

// resume throws the machine away and rebuilds it from the journal, as after a crash.
func (s *shell) resume() {
	s.machine = rack.NewMachine("r1", s.device, platform.All()[s.device.Platform], testImage)
	for _, e := range s.events {
		s.machine.Apply(e)
	}
	s.machine.SetGates(s.open)
	s.machine.SetCabling(s.against)
}

func (s *shell) observe(proves rack.Evidence, message string) {
	s.journal(rack.Event{Kind: rack.Observed, Device: "it", Detail: rack.Detail{Seen: &rack.Observation{Proves: proves, Message: message}}})
}

// TestMachine plays the stories in testdata/machine. Commands: device ROLE,
// gates [NAME…], against NETWORK REASON, agree, observe EVIDENCE [message=…], asks, overtakes EVIDENCE EVIDENCE, done STEP [attempt=N] [message=what went wrong] [recovery=NAME],
// limit STEP [attempt=N], retry STEP, never-seen, crash, failed, order KIND [overwrites=…].
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		var s *shell
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			arg := func(i int) string {
				if i < len(d.CmdArgs) {
					return d.CmdArgs[i].Key
				}
				return ""
			}
			var text string
			d.MaybeScanArgs(t, "message", &text)
			var recovery rack.Recovery
			d.MaybeScanArgs(t, "recovery", (*string)(&recovery))
			attempt := 1
			d.MaybeScanArgs(t, "attempt", &attempt)
			switch d.Cmd {
			case "device":
				s = newShell(rack.Role(arg(0)))
			case "gates":
				s.open = map[rack.Gate]bool{}
				for _, a := range d.CmdArgs {
					s.open[rack.Gate(a.Key)] = true
				}
				s.machine.SetGates(s.open)
				s.drive(rack.Input{Kind: rack.Woken})
			case "against":
				s.against = map[rack.Network]string{rack.Network(arg(0)): arg(1)}
				s.machine.SetCabling(s.against)
				s.drive(rack.Input{Kind: rack.Woken})
			case "agree":
				s.against = nil
				s.machine.SetCabling(nil)
				s.drive(rack.Input{Kind: rack.Woken})
			case "observe":
				s.observe(rack.Evidence(arg(0)), text)
				s.drive(rack.Input{Kind: rack.Woken})
			case "asks": // its host asks for an address, and takes none
				s.journal(rack.Event{Kind: rack.Observed, Device: "it", Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Stage: rack.StagePXE}}})
				s.drive(rack.Input{Kind: rack.Woken})
			case "overtakes": // two observations are journalled before the machine hears of either
				s.observe(rack.Evidence(arg(0)), "")
				s.observe(rack.Evidence(arg(1)), text)
				s.drive(rack.Input{Kind: rack.Woken})
			case "done":
				s.drive(rack.Input{Kind: rack.ActionDone, Step: arg(0), Attempt: attempt, Error: text, Recovery: recovery})
			case "limit":
				s.drive(rack.Input{Kind: rack.LimitPassed, Step: arg(0), Attempt: attempt})
			case "retry":
				s.drive(rack.Input{Kind: rack.RetryDue, Step: arg(0)})
			case "never-seen":
				s.drive(rack.Input{Kind: rack.NeverSeen, Error: "nothing within 10m0s"})
			case "order": // an operator's, while no shell lives; then a new one
				var holds string
				d.MaybeScanArgs(t, "overwrites", &holds)
				s.journal(rack.Event{Kind: rack.Kind(arg(0)), Device: "it", Detail: rack.Detail{Overwrites: holds}})
				s.resume()
				s.drive(rack.Input{Kind: rack.Resumed})
				s.drive(rack.Input{Kind: rack.Woken})
			case "failed": // the RackSupervisor's word after a fault
				s.journal(rack.Event{Kind: rack.DeviceFailed, Device: "it"})
			case "crash":
				s.resume()
				s.drive(rack.Input{Kind: rack.Resumed})
				s.drive(rack.Input{Kind: rack.Woken})
			default:
				d.Fatalf(t, "no such command")
			}
			out := s.out.String()
			s.out.Reset()
			return out
		})
	})
}

// TestMachineProperties plays random inputs against every role and holds what
// must be true of any story.
func TestMachineProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShell(rapid.SampledFrom(rack.Roles()).Draw(t, "role"))
		p := platform.All()[s.device.Platform]
		evidence := []rack.Evidence{"", rack.DHCPBMC, rack.DHCPPXE, rack.DHCPONIE, rack.DHCPNOS, rack.DHCPOS, rack.DHCPDeclined, rack.FetchedBootLoader, rack.FetchedImage, rack.ReportedInstalled, rack.ReportedFailed, rack.ReportedRefused, rack.ReceiptFound}
		for range rapid.IntRange(1, 80).Draw(t, "length") {
			step := rapid.SampledFrom(p.Steps).Draw(t, "step").Name
			attempt := rapid.IntRange(1, 3).Draw(t, "attempt")
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0:
				g := map[rack.Gate]bool{}
				for _, x := range []rack.Gate{rack.ManagementOpen, rack.SwitchesReady, rack.DataReady, rack.DataOpen} {
					g[x] = rapid.Bool().Draw(t, string(x))
				}
				s.open = g
				s.machine.SetGates(g)
				s.drive(rack.Input{Kind: rack.Woken})
			case 1, 2, 3:
				s.observe(rapid.SampledFrom(evidence).Draw(t, "evidence"), "")
				s.drive(rack.Input{Kind: rack.Woken})
			case 4:
				s.drive(rack.Input{Kind: rack.ActionDone, Step: step, Attempt: attempt, Error: rapid.SampledFrom([]string{"", "", "no"}).Draw(t, "error")})
			case 5:
				s.drive(rack.Input{Kind: rack.LimitPassed, Step: step, Attempt: attempt})
			case 6:
				s.drive(rack.Input{Kind: rack.RetryDue, Step: step})
			case 7:
				before := len(s.events)
				s.resume()
				s.drive(rack.Input{Kind: rack.Resumed})
				if len(s.events) != before && s.events[before].Kind != rack.StepCompleted {
					t.Fatalf("resuming alone decided something: %+v", s.events[before:])
				}
			case 8:
				kinds := []rack.Kind{rack.ReimageOrdered, rack.DeviceReplaced, rack.DeviceSkipped, rack.DeviceFailed}
				if s.machine.Finished() {
					kinds = append(kinds, rack.DeviceRetried)
				}
				s.journal(rack.Event{Kind: rapid.SampledFrom(kinds).Draw(t, "order"), Device: "it"})
				s.resume()
				s.drive(rack.Input{Kind: rack.Resumed})
				s.drive(rack.Input{Kind: rack.Woken})
			}
		}
		holdsInvariants(t, s, p)
	})
}

func holdsInvariants(t *rapid.T, s *shell, p rack.Platform) {
	at := map[string]int{}
	for i := range p.Steps {
		at[p.Steps[i].Name] = i
	}
	completed, ready, tickets := map[string]bool{}, 0, map[string]bool{}
	for _, e := range s.events {
		switch e.Kind {
		case rack.Observed, rack.DeviceSkipped, rack.DeviceFailed:
			continue
		case rack.ReimageOrdered, rack.DeviceReplaced:
			completed, ready = map[string]bool{}, 0
			continue
		case rack.DeviceRetried:
			ready = 0 // journalled by this test whatever came before; Run.Obey would refuse
			continue
		}
		if ready > 0 {
			t.Fatalf("%s after device-ready", e.Kind)
		}
		switch e.Kind {
		case rack.StepStarted:
			for i := range at[e.Detail.Step] {
				if x := p.Steps[i]; !x.OnRetry && !x.OnReimage && !completed[x.Name] {
					t.Fatalf("%s started before %s was completed", e.Detail.Step, x.Name)
				}
			}
		case rack.StepCompleted:
			completed[e.Detail.Step] = true
		case rack.TicketIssued:
			if tickets[e.Detail.Ticket] {
				t.Fatalf("ticket %s was issued twice", e.Detail.Ticket)
			}
			tickets[e.Detail.Ticket] = true
		case rack.DeviceReady:
			ready++
			for _, x := range p.Steps {
				if !x.OnRetry && !x.OnReimage && !completed[x.Name] {
					t.Fatalf("device-ready without %s", x.Name)
				}
			}
		}
	}
	// A machine rebuilt from the journal decides the same.
	copied := rack.NewMachine("r1", s.device, p, testImage)
	for _, e := range s.events {
		copied.Apply(e)
	}
	copied.SetGates(maps.Clone(s.open))
	a, _ := s.machine.Step(rack.Input{Kind: rack.Woken})
	b, _ := copied.Step(rack.Input{Kind: rack.Woken})
	if !reflect.DeepEqual(a, b) && len(a) > 0 {
		t.Fatalf("replayed machine decides %v, the living one %v", b, a)
	}
}
