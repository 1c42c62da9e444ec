package rackagent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/simimage"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// smallRack has a switch of each role that a rack needs, two servers and small images.
const smallRack = "../../cmd/rackreach/testdata/rack-4.yaml"

// patience is for machines that are busy with other tests.
const patience = time.Minute

// house is a state directory, the simulated rack in front of it, and the keeper
// that runs now.
type house struct {
	t    *testing.T
	plan *state.Plan
	dir  state.Dir
	sim  *sim.Sim
	k    *Keeper
	stop func() error // ends the keeper; its error

	ended chan error // holds the error of the keeper once it has ended

	mu    sync.Mutex
	lives int
}

func newHouse(t *testing.T) *house {
	t.Helper()
	base, err := os.MkdirTemp("", "keep") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, plan: resolved(t, smallRack), dir: state.Home(base).Rack("r4")}
	h.sim, err = sim.New(sim.Options{Rack: h.plan.Rack, Platforms: platform.All(), Speed: 2000, Seed: 1, User: "admin", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.stop(), h.sim.Close(), os.RemoveAll(base)); err != nil {
			t.Error(err)
		}
	})
	h.sim.Start(t.Context())
	h.begin(nil)
	return h
}

// begin opens the state and lets a keeper run.
func (h *house) begin(change func(*KeeperOptions)) {
	h.t.Helper()
	kept, err := OpenWaiting(h.dir, "r4")
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := api.Listen(h.dir.Socket())
	if err != nil {
		h.t.Fatal(err)
	}
	o := KeeperOptions{Kept: kept, Open: h.open, API: l}
	if change != nil {
		change(&o)
	}
	if h.k, err = NewKeeper(o); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.ended = make(chan error, 1)
	go func() { h.ended <- errors.Join(h.k.Run(ctx), kept.Close()) }()
	h.stop = sync.OnceValue(func() error { cancel(); return <-h.ended })
}

// open makes a life of real actors in front of the simulated rack.
func (h *house) open(_ context.Context, kept *Kept) (Life, error) {
	h.mu.Lock()
	h.lives++
	h.mu.Unlock()
	images, err := simimage.New(simimage.Specs())
	if err != nil {
		return nil, err
	}
	secret, err := kept.Dir.Secret()
	if err != nil {
		return nil, err
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tftp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := kept.Carried
	platforms := map[string]rack.Platform{}
	for name, x := range p.Platforms {
		platforms[name] = x.Scaled(2000, 10*time.Second)
	}
	a, err := New(Options{Rack: p.Rack, Platforms: platforms, Plan: p.Plan, Images: images, Log: kept.Journal, TFTP: tftp, HTTP: web,
		BaseURL: "http://" + sim.AgentHTTP, Secret: secret, Stay: true, Speed: 2000, ServerID: netip.MustParseAddr("127.0.0.1"),
		ListenDHCP: h.sim.ListenDHCP, Dial: h.sim.Dial, Credentials: func(string) (string, string, error) { return "admin", "secret", nil },
		DiscoveryLimit: 20 * time.Second, ScanEvery: 250 * time.Millisecond, Power: power.Options{Poll: 20 * time.Millisecond, Gap: 20 * time.Millisecond}})
	if err != nil {
		return nil, err
	}
	dhcp, err := h.sim.ListenDHCP()
	if err != nil {
		return nil, err
	}
	h.sim.Connect(sim.Services{DHCP: dhcp.LocalAddr(), TFTP: tftp.LocalAddr(), HTTP: web.Addr()})
	return a, nil
}

func (h *house) encoded(change func(*state.Plan)) []byte {
	h.t.Helper()
	p := resolved(h.t, smallRack)
	if change != nil {
		change(p)
	}
	b, err := p.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// obey gives an order of a coordinator and returns its one answer.
func (h *house) obey(m *messages.Order) rack.Event {
	h.t.Helper()
	m.Rack, m.By = "r4", "ada"
	if err := h.k.Obey(h.t.Context(), m); err != nil {
		h.t.Fatalf("%s: %v", m.GetVerb(), err)
	}
	got := h.answers(m.GetId())
	if len(got) != 1 {
		h.t.Fatalf("%s has %d answers: %+v", m.GetId(), len(got), got)
	}
	return got[0]
}

func (h *house) answers(id string) (out []rack.Event) {
	h.t.Helper()
	events, err := h.k.Journal().Read(1, 1<<20)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		if e.Detail.Order == id {
			out = append(out, e)
		}
	}
	return out
}

// until waits until the run is as a condition says.
func (h *house) until(what string, so func(*rack.Run) bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := h.k.waitFor(ctx, so); err != nil {
		h.t.Fatalf("%s: %v: %s", what, err, h.k.Summary())
	}
}

func is(s rack.Status) func(*rack.Run) bool {
	return func(run *rack.Run) bool { return run.Status == s }
}

// client is one of the rack's API, through its socket.
func (h *house) client() *api.Client {
	h.t.Helper()
	c, err := api.Dial(h.t.Context(), h.dir.Socket())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

func (h *house) shown(c *api.Client) *messages.Rack {
	h.t.Helper()
	a, err := c.GetRack(h.t.Context(), connect.NewRequest(&messages.GetRackRequest{Name: "racks/r4"}))
	if err != nil {
		h.t.Fatal(err)
	}
	return a.Msg.GetRack()
}

// TestKeeper: from an empty directory, over a plan, a halt, orders while it is
// halted and after its end, to a process that is another one.
func TestKeeper(t *testing.T) {
	h := newHouse(t)
	c := h.client()
	if r := h.shown(c); r.GetStatus() != "idle" || r.GetDriven() || len(r.GetDevices()) != 0 {
		t.Errorf("before a plan: %v", r)
	}
	_, err := c.RetryDevice(t.Context(), connect.NewRequest(&messages.RetryDeviceRequest{Name: "racks/r4/devices/tor-1"}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "has no plan yet") {
		t.Error("before a plan:", err)
	}
	if e := h.obey(&messages.Order{Id: "o1", Verb: "resume"}); e.Kind != rack.OrderAnswered || !strings.Contains(e.Detail.Error, "no plan yet") {
		t.Errorf("%+v", e)
	}
	// The plan of a coordinator says nothing of how this agent reaches its rack.
	plan := h.encoded(func(p *state.Plan) { p.Simulated = &state.Simulated{Socket: "/elsewhere"} })
	begins := h.obey(&messages.Order{Id: "o2", Verb: messages.VerbApply, Plan: plan})
	if begins.Kind != rack.RackStarted || begins.Detail.By != "ada" || begins.Detail.PlanHash != h.plan.Plan.Hash || begins.Detail.Run != h.k.Journal().Meta().Run {
		t.Errorf("%+v", begins)
	}
	if p, err := h.dir.ReadPlan(); err != nil || p.Simulated != nil {
		t.Errorf("%+v, %v", p, err)
	}
	watched := h.watch()

	h.until("a switch is being installed", func(run *rack.Run) bool { return run.Device("mgmt-1").Status == rack.Installing })
	if e := h.obey(&messages.Order{Id: "o3", Verb: messages.VerbApply, Plan: plan}); e.Kind != rack.OrderAnswered || e.Detail.Error != "" || !strings.Contains(e.Detail.Reason, "so already") {
		t.Errorf("applied again: %+v", e)
	}
	if e := h.obey(&messages.Order{Id: "o4", Verb: "halt", Reason: "smoke"}); e.Kind != rack.RackDraining {
		t.Errorf("%+v", e)
	}
	h.until("the halt", is(rack.Halted))
	if r := h.shown(c); r.GetStatus() != "halted" || !r.GetDriven() || len(r.GetDevices()) != 4 {
		t.Errorf("halted: %v", r)
	}
	if e := h.obey(&messages.Order{Id: "o5", Verb: messages.VerbApply, Plan: plan}); !strings.Contains(e.Detail.Error, "is halted: halted by ada: smoke") || !strings.Contains(e.Detail.Next, "rackreach resume r4") {
		t.Errorf("applied when it is halted: %+v", e)
	}
	if e := h.obey(&messages.Order{Id: "o6", Verb: "retry", Device: "tor-1"}); e.Kind != rack.OrderAnswered || !strings.Contains(e.Detail.Error, "it has not failed") {
		t.Errorf("%+v", e)
	}
	// From its own machine, which needs no id.
	if _, err := c.SkipDevice(t.Context(), connect.NewRequest(&messages.SkipDeviceRequest{Name: "racks/r4/devices/server-02", Reason: "no power"})); err != nil {
		t.Error(err)
	}
	if e := h.obey(&messages.Order{Id: "o7", Verb: "resume"}); e.Kind != rack.RackResumed {
		t.Errorf("%+v", e)
	}
	h.until("the end", is(rack.Completed))
	if e := h.obey(&messages.Order{Id: "o8", Verb: "retry", Device: "server-02"}); e.Kind != rack.DeviceRetried {
		t.Errorf("%+v", e)
	}

	// Another process finds all of it, and what was obeyed is not obeyed again.
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.begin(nil)
	for _, id := range []string{"o2", "o4", "o7", "o8"} {
		before := h.k.Journal().Last()
		m := &messages.Order{Id: id, Verb: map[string]string{"o2": "apply", "o4": "halt", "o7": "resume", "o8": "retry"}[id], Device: "server-02", Plan: plan}
		h.obey(m)
		if after := h.k.Journal().Last(); after != before {
			t.Errorf("%s was obeyed again: %d events more", id, after-before)
		}
	}
	h.obey(&messages.Order{Id: "o9", Verb: "resume"})
	h.until("the end of all", func(run *rack.Run) bool { return run.Status == rack.Completed && run.Ended() })
	if ready, failed := h.k.tally(); ready != 4 || failed != 0 {
		t.Errorf("%d are ready, %d failed", ready, failed)
	}
	if seqs := watched(); !slices.IsSorted(seqs) || len(seqs) == 0 || seqs[0] != 1 || seqs[len(seqs)-1] != uint64(len(seqs)) {
		t.Errorf("watched: %v", seqs)
	} else if e := h.answers("o8"); uint64(len(seqs)) < e[0].Seq {
		t.Errorf("the stream ended at event %d, before event %d of the second run's end", len(seqs), e[0].Seq)
	}
}

func (k *Keeper) tally() (ready, failed int) {
	if err := k.look(func(run *rack.Run) { ready, failed = run.Tally() }); err != nil {
		return 0, 0
	}
	return ready, failed
}

// watch follows the events through the API until the service ends.
func (h *house) watch() (seqs func() []uint64) {
	h.t.Helper()
	out := make(chan []uint64, 1)
	c := h.client()
	s, err := c.WatchEvents(context.Background(), connect.NewRequest(&messages.WatchEventsRequest{Name: "racks/r4", Follow: true}))
	if err != nil {
		h.t.Fatal(err)
	}
	go func() {
		var got []uint64
		for s.Receive() {
			for _, m := range s.Msg().GetEvents() {
				got = append(got, m.GetSeq())
			}
		}
		if err := errors.Join(s.Err(), s.Close()); err != nil {
			h.t.Error(err)
		}
		out <- got
	}()
	return func() []uint64 { return <-out }
}

// TestPlansThatAreRefused: nothing is begun with any of them, and a run that was
// begun goes on with its own.
func TestPlansThatAreRefused(t *testing.T) {
	h := newHouse(t)
	torn := h.encoded(nil)
	torn[len(torn)/2] ^= 1
	for id, c := range map[string]struct {
		plan []byte
		only []string
		says string
	}{
		"none":      {nil, nil, "read the plan"},
		"changed":   {torn, nil, "read the plan"},
		"elsewhere": {h.encoded(func(p *state.Plan) { p.Rack.Name, p.Plan.Rack = "r9", "r9" }), nil, `the plan is of rack "r9"`},
		"protected": {h.encoded(func(p *state.Plan) { p.Rack.Devices[3].Protect = true }), nil, "is protected, and a rack is imaged as a whole"},
		"no device": {h.encoded(nil), []string{"tor-9"}, `rack r4 has no device "tor-9"`},
		"forged":    {h.encoded(func(p *state.Plan) { p.Plan.Hash = "00" }), nil, "it would be carried out as plan " + h.plan.Plan.Hash},
		"twice":     {h.encoded(func(p *state.Plan) { p.Rack.Devices[3].Name = p.Rack.Devices[2].Name }), nil, "is given twice"},
		"no image":  {h.encoded(func(p *state.Plan) { p.Plan.Devices = p.Plan.Devices[1:] }), nil, "the plan has no image"},
	} {
		e := h.obey(&messages.Order{Id: id, Verb: messages.VerbApply, Plan: c.plan, Only: c.only})
		if e.Kind != rack.OrderAnswered || !strings.Contains(e.Detail.Error, c.says) || e.Detail.Next == "" {
			t.Errorf("%s: %+v, want %s", id, e, c.says)
		}
	}
	if _, err := h.dir.ReadPlan(); !errors.Is(err, state.ErrNone) {
		t.Error("a plan was kept:", err)
	}
	if h.k.Driven() {
		t.Error("a life was begun")
	}
	if e := h.obey(&messages.Order{Id: "good", Verb: messages.VerbApply, Plan: h.encoded(nil), Only: []string{"mgmt-1"}}); e.Kind != rack.RackStarted || !slices.Equal(e.Detail.Only, []string{"mgmt-1"}) {
		t.Errorf("%+v", e)
	}
	other := h.encoded(func(p *state.Plan) { p.Rack.Devices[3].Serial, p.Plan.Hash = "SN-9", "ff" })
	e := h.obey(&messages.Order{Id: "other", Verb: messages.VerbApply, Plan: other})
	if e.Kind != rack.OrderAnswered || !strings.Contains(e.Detail.Error, "this is plan ff: "+h.plan.Rack.Devices[3].Name+": serial SN-9") || !strings.Contains(e.Detail.Next, "rackreach resume") {
		t.Errorf("another plan: %+v", e)
	}
	h.until("the end", is(rack.Halted))
	if e := h.obey(&messages.Order{Id: "again", Verb: messages.VerbApply, Plan: h.encoded(nil)}); !strings.Contains(e.Detail.Error, "only mgmt-1 was asked for") || !strings.Contains(e.Detail.Next, "resume r4 --all") {
		t.Errorf("%+v", e)
	}
	if err := h.k.Obey(t.Context(), &messages.Order{Id: "x", Verb: "halt", Rack: "r2"}); err == nil {
		t.Error("an order for another rack was obeyed")
	}
}

// TestOrdersThatComeTwice at once are answered once.
func TestOrdersThatComeTwice(t *testing.T) {
	h := newHouse(t)
	all := func(m func() *messages.Order) {
		t.Helper()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := h.k.Obey(t.Context(), m()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := h.answers(m().GetId()); len(got) != 1 {
			t.Errorf("%s has %d answers", m().GetId(), len(got))
		}
	}
	plan := h.encoded(nil)
	all(func() *messages.Order { return &messages.Order{Id: "a", Verb: "apply", Rack: "r4", Plan: plan} })
	all(func() *messages.Order { return &messages.Order{Id: "b", Verb: "retry", Rack: "r4", Device: "tor-1"} })
	all(func() *messages.Order { return &messages.Order{Id: "c", Verb: "halt", Rack: "r4"} })
	h.until("the halt", is(rack.Halted))
	all(func() *messages.Order { return &messages.Order{Id: "d", Verb: "skip", Rack: "r4", Device: "tor-1"} })
	all(func() *messages.Order { return &messages.Order{Id: "e", Verb: "resume", Rack: "r4"} })
	h.until("it goes on", is(rack.Imaging))
}

// TestOneKeeper: a second one for the same directory is refused, and says who
// holds it.
func TestOneKeeper(t *testing.T) {
	h := newHouse(t)
	if _, err := OpenWaiting(h.dir, "r4"); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Error(err)
	}
}
