package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

func example(t testing.TB, file string) *rack.Rack {
	t.Helper()
	r, err := rackfile.Read("../../examples/"+file, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func options(t testing.TB, file string, racks int, f Faults) Options {
	t.Helper()
	return Options{Rack: example(t, file), Platforms: platform.All(), Racks: racks, Seed: 7, Faults: f}
}

func run(t testing.TB, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// one is the events of one simulated rack.
func one(t rapid.TB, o Options, number int) (*simulation, []rack.Event) {
	t.Helper()
	s, err := newSetup(o)
	if err != nil {
		t.Fatal(err)
	}
	n := newSimulation(s, number, epoch())
	var events []rack.Event
	n.record = func(e rack.Event) { events = append(events, e) }
	n.begin()
	if err := n.play(context.Background()); err != nil {
		t.Fatal(err)
	}
	return n, events
}

func marshal(t testing.TB, x any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSameSeedSameBytes(t *testing.T) {
	o := options(t, "rack-2.yaml", 60, Realistic())
	var want []byte
	for _, workers := range []int{1, 4, 4, 0} {
		o.Workers = workers
		got := marshal(t, run(t, o))
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d workers: other bytes than with one:\n%s\nand\n%s", workers, got, want)
		}
	}
	o.Seed++
	if bytes.Equal(marshal(t, run(t, o).Steps), marshal(t, run(t, options(t, "rack-2.yaml", 60, Realistic())).Steps)) {
		t.Error("another seed gives the same durations")
	}
}

// bounds are the least and the most time that a rack may take by the table, when
// nothing goes wrong: the management switch, then the switches behind it, then
// the servers.
func bounds(t *testing.T, o Options) (low, high time.Duration) {
	t.Helper()
	s, err := newSetup(o)
	if err != nil {
		t.Fatal(err)
	}
	type chain struct{ low, high time.Duration }
	waves := map[int]chain{}
	for _, d := range s.devices {
		// A switch may already be heard while its management switch is verified,
		// and a server's BMC while other switches are installed.
		c := chain{0, d.contact.High + max(s.pause.High, s.o.ScanEvery)}
		if d.gate < 0 {
			c.low = d.contact.Low
		}
		for i, step := range d.platform.Steps {
			c.high += d.takes[i].High
			if !step.OnRetry && step.Until != rack.DHCPONIE && (d.dev.Role != rack.Server || step.Action != rack.BMCLogin) {
				c.low += d.takes[i].Low
			}
			if d.gate >= 0 && step.Action == rack.VerifyDevice && d.dev.Role != rack.Server {
				c.low -= s.devices[d.gate].takes[len(s.devices[d.gate].takes)-1].High
			}
		}
		w := d.dev.Role.Wave()
		waves[w] = chain{max(waves[w].low, c.low), max(waves[w].high, c.high)}
	}
	for _, c := range waves {
		low, high = low+c.low, high+c.high
	}
	return low, high
}

func TestNothingGoesWrong(t *testing.T) {
	for _, file := range []string{"rack-1.yaml", "rack-2.yaml", "rack-42u.yaml"} {
		o := options(t, file, 30, None())
		r := run(t, o)
		if r.AllReady != o.Racks || len(r.Failures) != 0 || r.Findings != 0 {
			t.Errorf("%s: %d of %d racks are ready, failures %+v, %d findings", file, r.AllReady, o.Racks, r.Failures, r.Findings)
		}
		low, high := bounds(t, o)
		for i := range o.Racks {
			n, _ := one(t, o, i)
			if n.now < low || n.now > high {
				t.Errorf("%s: rack %d took %s, not %s to %s", file, i, n.now, low, high)
			}
		}
		if r.Makespan.P50 < low.Milliseconds() || r.Makespan.P90 > high.Milliseconds() || r.Makespan.P50 > r.Makespan.P90 {
			t.Errorf("%s: makespan %+v, not within %s and %s", file, r.Makespan, low, high)
		}
	}
}

func TestOneFaultOfEachRole(t *testing.T) {
	for _, tt := range []struct {
		role     rack.Role
		step     string
		halted   bool
		attempts int // of each device that has it
	}{
		{rack.ManagementSwitch, "bmc-login", true, 4},
		{rack.ManagementSwitch, "write", true, 3},
		{rack.ToRSwitch, "install", true, 3},
		{rack.ToRSwitch, FirstContact, true, 1},
		{rack.InterRackSwitch, "verify", true, 4},
		{rack.Server, FirstContact, false, 1},
		{rack.Server, "bmc-login", false, 4},
		{rack.Server, "write", false, 3},
		{rack.Server, "push", false, 3},
	} {
		t.Run(fmt.Sprint(tt.role, " ", tt.step), func(t *testing.T) {
			f, err := ParseFaults(fmt.Appendf(nil, "faults: [{role: %s, step: %s, probability: 1, scope: device, reason: it is broken}]", tt.role, tt.step))
			if err != nil {
				t.Fatal(err)
			}
			o := options(t, "rack-42u.yaml", 3, f)
			r := run(t, o)
			if tt.halted != (r.Halted == o.Racks) || tt.halted == (r.WithFailed == o.Racks) {
				t.Fatalf("%d halted, %d with failed servers of %d", r.Halted, r.WithFailed, o.Racks)
			}
			got := r.Failures[0]
			if got.Cause != (Cause{tt.role, tt.step, "it is broken"}) {
				t.Errorf("the first cause is %+v", got)
			}
			if got.Devices < 1 || got.Attempts < got.Devices*tt.attempts || (got.Halts > 0) != tt.halted {
				t.Errorf("%+v: want %d attempts of a device", got, tt.attempts)
			}
			servers := 0
			for _, d := range o.Rack.Devices {
				if d.Role == rack.Server {
					servers++
				}
			}
			if !tt.halted && (got.Devices != servers*o.Racks || len(r.Failures) != 1) {
				t.Errorf("%d servers failed, want all %d: %+v", got.Devices, servers*o.Racks, r.Failures)
			}
		})
	}
}

// holds checks what must be true of the events of any rack.
func holds(t rapid.TB, r *rack.Rack, events []rack.Event) {
	t.Helper()
	ready, switches := map[string]bool{}, 0
	for i := range r.Devices {
		if r.Devices[i].Role.IsSwitch() {
			switches++
		}
	}
	ends, open, draining, tickets := 0, map[string]bool{}, false, map[string]bool{}
	readySwitches := 0
	cabling := rack.NewCabling(r)
	for i, e := range events {
		if e.Seq != uint64(i+1) || (i > 0 && e.Time.Before(events[i-1].Time)) {
			t.Fatalf("event %d has sequence %d and time %s after %s", i+1, e.Seq, e.Time, events[max(i, 1)-1].Time)
		}
		// A finding about the last server may stand behind the end, as in a real run:
		// the two have different writers.
		if ends > 0 && e.Kind != rack.DeviceFinding {
			t.Fatalf("%s of %s after the rack had ended", e.Kind, e.Device)
		}
		switch e.Kind {
		case rack.StepStarted, rack.TicketIssued:
			if draining {
				t.Fatalf("%s %s of %s while the rack drains", e.Kind, e.Detail.Step, e.Device)
			}
			if e.Role == rack.Server && e.Detail.Step != "bmc-login" && readySwitches < switches {
				t.Fatalf("%s of %s started when %d of %d switches were ready", e.Detail.Step, e.Device, readySwitches, switches)
			}
			if e.Kind == rack.TicketIssued {
				if tickets[e.Detail.Ticket] {
					t.Fatalf("ticket %s was issued twice", e.Detail.Ticket)
				}
				tickets[e.Detail.Ticket] = true
			}
		case rack.LinkReady, rack.LinkOpen:
			p, err := rack.ParsePort(e.Detail.Link)
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == rack.LinkOpen && !open[e.Detail.Link] {
				t.Fatalf("link %s is open before it was ready", p)
			}
			open[e.Detail.Link] = true
			c, _ := cabling.At(p)
			route, _ := cabling.Route(c)
			for _, s := range route {
				if !ready[s] {
					t.Fatalf("link %s is ready without %s", p, s)
				}
			}
		case rack.DeviceReady:
			if ready[e.Device] {
				t.Fatalf("%s is ready twice", e.Device)
			}
			ready[e.Device] = true
			if e.Role.IsSwitch() {
				readySwitches++
			}
		case rack.DeviceFailed:
			if ready[e.Device] {
				t.Fatalf("%s failed after it was ready", e.Device)
			}
		case rack.RackDraining:
			draining = true
			if !e.Role.IsSwitch() {
				t.Fatalf("the %s %s stopped the rack", e.Role, e.Device)
			}
		case rack.RackHalted, rack.RackCompleted:
			ends++
			if (e.Kind == rack.RackHalted) != draining {
				t.Fatalf("%s, draining %v", e.Kind, draining)
			}
		}
	}
	if ends != 1 {
		t.Fatalf("the rack ended %d times", ends)
	}
}

// bad makes everything fail often, so that retries, timeouts, drains and their
// interleavings are all there in a few racks.
func bad(t rapid.TB, r *rack.Rack, probability float64) Faults {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintln(&b, "faults:")
	known := map[string]bool{}
	for _, d := range r.Devices {
		p := platform.All()[d.Platform]
		if known[p.Name] {
			continue
		}
		known[p.Name] = true
		for _, s := range p.Steps {
			if s.Action == rack.IssueTicket {
				continue
			}
			fmt.Fprintf(&b, "- {role: %s, step: %s, kind: silent, probability: %f}\n", p.Roles[0], s.Name, probability/4)
			if s.Action != rack.Wait || len(s.Unless) > 0 {
				fmt.Fprintf(&b, "- {role: %s, step: %s, kind: error, probability: %f}\n", p.Roles[0], s.Name, probability)
			}
		}
	}
	fmt.Fprintf(&b, "- {step: first-contact, probability: %f}\n- {step: data-cable, probability: %f}\n", probability/20, probability)
	f, err := ParseFaults(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOrderHoldsInAnyRack(t *testing.T) {
	r := example(t, "rack-2.yaml")
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Rack: r, Platforms: platform.All(), Racks: 1, Seed: rapid.Uint64().Draw(t, "seed"),
			Faults: bad(t, r, rapid.Float64Range(0, 0.3).Draw(t, "probability"))}
		n, events := one(t, o, 0)
		holds(t, o.Rack, events)
		// Whoever replays the events holds the same state.
		again := rack.NewRun(o.Rack, o.Platforms)
		for _, e := range events {
			again.Apply(e)
		}
		if again.Status != n.run.Status {
			t.Fatalf("the rack is %s, replayed it is %s", n.run.Status, again.Status)
		}
		for _, d := range o.Rack.Devices {
			if again.Device(d.Name) != n.run.Device(d.Name) {
				t.Fatalf("%s is %+v, replayed it is %+v", d.Name, n.run.Device(d.Name), again.Device(d.Name))
			}
		}
		if n.run.Status == rack.Completed {
			var sum time.Duration
			for _, part := range n.trace.criticalPath(n.setup) {
				sum += part
			}
			if sum != n.now {
				t.Fatalf("the critical path is %s long, the rack took %s", sum, n.now)
			}
		}
	})
}

// TestEveryFailureHasItsCause: without faults nothing takes longer than its
// limit, so whatever fails is counted by the reason of a fault.
func TestEveryFailureHasItsCause(t *testing.T) {
	o := options(t, "rack-42u.yaml", 200, Realistic())
	known := map[string]bool{}
	for _, f := range o.Faults.List() {
		known[f.Reason] = true
	}
	r := run(t, o)
	for _, f := range r.Failures {
		if !known[f.Reason] {
			t.Errorf("nobody knows why: %+v", f)
		}
	}
	if n := r.AllReady + r.WithFailed + r.Halted + r.Unfinished; n != o.Racks || r.Unfinished != 0 || r.Halted == 0 || r.WithFailed == 0 {
		t.Errorf("%d ready, %d with failed servers, %d halted, %d unfinished of %d", r.AllReady, r.WithFailed, r.Halted, r.Unfinished, o.Racks)
	}
}

func TestCriticalPathOfAQuietRack(t *testing.T) {
	r := run(t, options(t, "rack-42u.yaml", 40, None()))
	var sum int64
	for _, c := range r.CriticalPath {
		if c.Share == 1000 {
			sum += c.Mean
		}
		if c.Step == retryPause {
			t.Errorf("a retry without a fault: %+v", c)
		}
		if c.Role == rack.ManagementSwitch && c.Step != "verify" && c.Share != 1000 && c.Step != FirstContact {
			t.Errorf("%+v: everything waits for the management switch", c)
		}
	}
	if sum > r.Makespan.P90 || sum < r.Makespan.P50/2 {
		t.Errorf("the steps that are always critical take %d ms of %+v", sum, r.Makespan)
	}
	if p50, p90, ok := r.Usual(rack.Server, "write"); !ok || p50 < 2*time.Minute || p90 > 5*time.Minute || p50 > p90 {
		t.Errorf("a server's write usually takes %s to %s", p50, p90)
	}
	if _, _, ok := r.Usual(rack.Server, "onie"); ok {
		t.Error("servers have no step onie")
	}
}

func TestOptionsAreRefused(t *testing.T) {
	good := options(t, "rack-1.yaml", 1, None())
	for what, change := range map[string]func(*Options){
		"no rack":          func(o *Options) { o.Rack = nil },
		"no racks":         func(o *Options) { o.Racks = 0 },
		"too many racks":   func(o *Options) { o.Racks = MaxRacks + 1 },
		"too many workers": func(o *Options) { o.Workers = MaxWorkers + 1 },
		"negative limit":   func(o *Options) { o.DiscoveryLimit = -1 },
		"no platform":      func(o *Options) { o.Platforms = nil },
		"unknown step": func(o *Options) {
			o.Faults = Faults{strict: true, list: []Fault{{Role: rack.Server, Step: "onie", Kind: Silent, Probability: 1}}}
		},
		"no way to say it": func(o *Options) {
			o.Faults = Faults{strict: true, list: []Fault{{Role: rack.Server, Step: "first-boot", Kind: Refused, Probability: 1}}}
		},
		"unknown evidence": func(o *Options) {
			p := o.Platforms[platform.SimServer]
			p.Steps = append(p.Steps, rack.Step{Name: "sing", Phase: rack.Configuration, Until: "sung", Limit: time.Minute})
			o.Platforms = map[string]rack.Platform{platform.SimServer: p, platform.SimManagement: o.Platforms[platform.SimManagement],
				platform.SimToR: o.Platforms[platform.SimToR], platform.SimSpine: o.Platforms[platform.SimSpine]}
		},
	} {
		o := good
		change(&o)
		if r, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: accepted: %+v", what, r)
		} else {
			t.Log(what+":", err)
		}
	}
}
