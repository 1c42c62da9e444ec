package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(leaks...); code == 0 && err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// leaks are goroutines that others leave (proof_test.go).
var leaks []goleak.Option

// patience bounds what a test waits for; it is no measure of speed.
const patience = 30 * time.Second

func until(t interface {
	Helper()
	Fatalf(string, ...any)
}, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// record is a log of record in memory. Its rules are those of the real one.
type record struct {
	mu      sync.Mutex
	heads   map[string]Head
	events  map[string][]*messages.Event
	fail    error // of Append
	lost    int   // how many acknowledgements are lost: it is written, and an error comes back
	appends int
}

func newRecord() *record {
	return &record{heads: map[string]Head{}, events: map[string][]*messages.Event{}}
}

func (r *record) Head(_ context.Context, rack string) (Head, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heads[rack], nil
}

func (r *record) Claim(_ context.Context, rack, journal string, after Head) (Head, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.heads[rack]
	if h.Epoch != after.Epoch {
		return Head{}, ErrFenced
	}
	h.Epoch, h.Journal = h.Epoch+1, journal
	r.heads[rack] = h
	return h, nil
}

func (r *record) Append(_ context.Context, rack string, epoch uint64, events []*messages.Event) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.appends++
	h := r.heads[rack]
	if r.fail != nil {
		return h.Seq, r.fail
	}
	if h.Epoch != epoch {
		return h.Seq, ErrFenced
	}
	for _, e := range events {
		switch {
		case e.GetSeq() > h.Seq+1:
			return h.Seq, ErrGap
		case e.GetSeq() <= h.Seq:
			if !proto.Equal(e, r.events[rack][e.GetSeq()-1]) {
				return h.Seq, ErrDiverged
			}
		default:
			r.events[rack] = append(r.events[rack], e)
			h.Seq = e.GetSeq()
		}
	}
	if h.Seq > 0 {
		sum, err := messages.Sum(r.events[rack][h.Seq-1])
		if err != nil {
			return 0, err
		}
		h.Sum = sum
	}
	r.heads[rack] = h
	if r.lost > 0 {
		r.lost--
		return h.Seq, errors.New("the acknowledgement was lost")
	}
	return h.Seq, nil
}

func (r *record) Read(_ context.Context, rack string, from uint64, limit int) ([]*messages.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.events[rack]
	if from > uint64(len(all)) {
		return nil, nil
	}
	return slices.Clone(all[from-1 : min(len(all), int(from)-1+limit)]), nil
}

func (r *record) seq(rack string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.events[rack]))
}

// line is an Attachment.
type line struct {
	orders chan *messages.Order
	kicked chan struct{}
	why    error
	once   sync.Once
	mu     sync.Mutex
	beats  int
	gone   bool
}

func (l *line) Orders() <-chan *messages.Order { return l.orders }
func (l *line) Kicked() <-chan struct{}        { return l.kicked }
func (l *line) Why() error                     { return l.why }
func (l *line) Heard(*messages.Heartbeat)      { l.mu.Lock(); l.beats++; l.mu.Unlock() }
func (l *line) Detach()                        { l.mu.Lock(); l.gone = true; l.mu.Unlock() }
func (l *line) kick(why error)                 { l.once.Do(func() { l.why = why; close(l.kicked) }) }

// coordinator is a Door on a socket.
type coordinator struct {
	t      testing.TB
	log    *record
	server *httptest.Server
	door   *Door
	ended  chan struct{}
	is     string // whom the certificate names; empty: nobody

	mu    sync.Mutex
	lines map[string][]*line
	plans [][]byte
	wants bool
}

func newCoordinator(t testing.TB, log *record) *coordinator {
	c := &coordinator{t: t, log: log, ended: make(chan struct{}), lines: map[string][]*line{}}
	d := NewDoor(DoorOptions{Log: log, Ended: c.ended, KeepaliveEvery: 20 * time.Millisecond,
		Rack:   func(context.Context) (string, error) { return c.is, nil },
		Attach: c.attach,
		Connected: func(_ context.Context, rack string) (bool, error) {
			l := c.line(rack)
			return l != nil && !l.gone, nil
		},
		Plan:  func(context.Context, string) ([]byte, error) { return []byte("plan"), nil },
		Wants: func(context.Context, string, string) (bool, error) { return c.wants, nil },
		Planned: func(_ context.Context, _ string, p []byte) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.plans = append(c.plans, p)
			return nil
		},
		Kick: func(rack string, why error) {
			if l := c.line(rack); l != nil {
				l.kick(why)
			}
		},
	})
	c.door = d
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewBusServiceHandler(d, connect.WithReadMaxBytes(MaxMessage)))
	c.server = httptest.NewUnstartedServer(mux)
	c.server.Config.Protocols = new(http.Protocols)
	c.server.Config.Protocols.SetUnencryptedHTTP2(true)
	c.server.Start()
	t.Cleanup(c.stop)
	return c
}

func (c *coordinator) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
	default:
		close(c.ended)
		c.server.CloseClientConnections()
		c.server.Close()
	}
}

func (c *coordinator) attach(rack string, _ *messages.Hello, _ uint64) Attachment {
	l := &line{orders: make(chan *messages.Order, 64), kicked: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.lines[rack] {
		old.kick(errors.New("connected anew"))
	}
	c.lines[rack] = append(c.lines[rack], l)
	return l
}

// line is the newest connection of a rack.
func (c *coordinator) line(rack string) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.lines[rack]); n > 0 {
		return c.lines[rack][n-1]
	}
	return nil
}

// own is the journal of an agent, in memory.
type own struct {
	mu     sync.Mutex
	events []rack.Event
	grown  chan struct{}
	reads  int // the most events that were read at once
}

func newOwn() *own { return &own{grown: make(chan struct{})} }

func (o *own) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range n {
		seq := uint64(len(o.events) + 1)
		o.events = append(o.events, rack.Event{Seq: seq, Time: time.Unix(int64(seq), 0).UTC(), Rack: "r1", Device: "d", Kind: rack.DeviceFinding, Detail: rack.Detail{Reason: fmt.Sprint(seq)}})
	}
	close(o.grown)
	o.grown = make(chan struct{})
}

func (o *own) Read(from uint64, limit int) ([]rack.Event, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if from > uint64(len(o.events)) {
		return nil, nil
	}
	out := slices.Clone(o.events[from-1 : min(len(o.events), int(from)-1+limit)])
	o.reads = max(o.reads, len(out))
	return out, nil
}

func (o *own) Wait(ctx context.Context, from uint64) error {
	for {
		o.mu.Lock()
		last, grown := uint64(len(o.events)), o.grown
		o.mu.Unlock()
		if last >= from {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *own) Last() uint64 { o.mu.Lock(); defer o.mu.Unlock(); return uint64(len(o.events)) }

// agent is an Uplink that runs until the test ends, or it is stopped.
type agent struct {
	t       testing.TB
	journal *own
	o       UplinkOptions
	cancel  context.CancelFunc
	done    chan struct{}
	err     error

	mu     sync.Mutex
	obeyed []string
	state  State
	epoch  uint64
}

func newAgent(t testing.TB, url string, j *own, change func(*UplinkOptions)) *agent {
	client, err := Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, journal: j, done: make(chan struct{})}
	a.o = UplinkOptions{Client: client, LetGo: client.Close, Rack: "r1", Name: "j1", Journal: j, HeartbeatEvery: 20 * time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
		Hello:    func() *messages.Hello { return &messages.Hello{Version: "test", PlanHash: "aa"} },
		Welcomed: func(epoch uint64, _ []string) error { a.mu.Lock(); a.epoch = epoch; a.mu.Unlock(); return nil },
		Obey: func(_ context.Context, o *messages.Order) {
			a.mu.Lock()
			a.obeyed = append(a.obeyed, o.GetId())
			a.mu.Unlock()
		},
		Heartbeat: func() *messages.Heartbeat { return &messages.Heartbeat{LastSeq: j.Last()} },
		Plan:      func() []byte { return []byte("the agent's plan") },
		State:     func(s State) { a.mu.Lock(); a.state = s; a.mu.Unlock() }}
	if change != nil {
		change(&a.o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	go func() {
		defer close(a.done)
		a.err = NewUplink(a.o).Run(ctx)
	}()
	t.Cleanup(func() { a.stop(); client.Close() })
	return a
}

func (a *agent) stop() { a.cancel(); <-a.done }

// same checks that the log holds exactly the journal.
func same(t interface {
	Helper()
	Fatalf(string, ...any)
}, log *record, j *own) {
	t.Helper()
	log.mu.Lock()
	defer log.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(log.events["r1"]) != len(j.events) {
		t.Fatalf("the log holds %d events, the journal %d", len(log.events["r1"]), len(j.events))
	}
	for i, e := range j.events {
		if !proto.Equal(messages.FromEvent(e), log.events["r1"][i]) {
			t.Fatalf("event %d differs", e.Seq)
		}
	}
}

func TestEventsGoUpInOrder(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	j.add(3000) // a backlog: more than a window
	a := newAgent(t, c.server.URL, j, nil)
	until(t, "the backlog is up", func() bool { return log.seq("r1") == 3000 })
	for range 50 {
		j.add(1)
	}
	until(t, "all is up and acknowledged", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.state.Acked == 3050 && a.state.Connected && a.epoch == 1
	})
	same(t, log, j)
	if j.reads > maxBatch {
		t.Errorf("%d events were held at once", j.reads)
	}
	until(t, "a heartbeat", func() bool { l := c.line("r1"); l.mu.Lock(); defer l.mu.Unlock(); return l.beats > 2 })
}

// TestABurstGoesTogether: events wait for others, but not when there are many, and
// not when somebody may wait for the answer to an order.
func TestABurstGoesTogether(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	a := newAgent(t, c.server.URL, j, func(o *UplinkOptions) { o.GatherFor = time.Hour })
	until(t, "it is connected", func() bool { return c.line("r1") != nil })
	appends := func() int { log.mu.Lock(); defer log.mu.Unlock(); return log.appends }
	beats := func() int { l := c.line("r1"); l.mu.Lock(); defer l.mu.Unlock(); return l.beats }
	for range enough - 1 {
		j.add(1)
	}
	now := beats()
	until(t, "two heartbeats", func() bool { return beats() > now+2 })
	if n := log.seq("r1"); n != 0 {
		t.Errorf("%d events did not wait for others", n)
	}
	j.add(1)
	until(t, "enough events are up", func() bool { return log.seq("r1") == enough })
	if n := appends(); n != 1 {
		t.Errorf("they went in %d messages", n)
	}
	c.line("r1").orders <- &messages.Order{Id: "a", Rack: "r1", Verb: "halt"}
	until(t, "the order is obeyed", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.obeyed) == 1 })
	j.add(1)
	until(t, "its answer is up", func() bool { return log.seq("r1") == enough+1 })
	same(t, log, j)
}

func TestACoordinatorThatWasAway(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a place where nobody answers yet
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, l, c.server.Listener.Addr().String())
	p.set(refuse)
	j.add(10)
	newAgent(t, "http://"+l.Addr().String(), j, nil)
	until(t, "it was refused a few times", func() bool { return p.refused.Load() > 3 })
	p.set(pass)
	until(t, "all is up", func() bool { return log.seq("r1") == 10 })
	opened := p.opened.Load()
	p.set(freeze) // both are silent, and notice it
	j.add(10)
	until(t, "the agent gave the frozen connection up", func() bool { return p.opened.Load() > opened })
	p.set(pass)
	until(t, "all is up", func() bool { return log.seq("r1") == 20 })
	same(t, log, j)
}

func TestALogThatCannotBeWritten(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	log.fail = errors.New("the disk is full")
	j.add(5)
	newAgent(t, c.server.URL, j, nil)
	until(t, "it was tried", func() bool { log.mu.Lock(); defer log.mu.Unlock(); return log.appends > 3 })
	log.mu.Lock()
	log.fail, log.lost = nil, 2 // then written, and not acknowledged
	log.mu.Unlock()
	until(t, "all is up", func() bool { return log.seq("r1") == 5 })
	j.add(5)
	until(t, "all is up", func() bool { return log.seq("r1") == 10 })
	same(t, log, j)
}

// TestWhateverTheNetworkDoes, the log ends as the journal: each event once, in order.
func TestWhateverTheNetworkDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log, j := newRecord(), newOwn()
		c := newCoordinator(t, log)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			rt.Fatal(err)
		}
		p := newProxy(t, l, c.server.Listener.Addr().String())
		a := newAgent(t, "http://"+l.Addr().String(), j, nil)
		for range rapid.IntRange(1, 6).Draw(rt, "acts") {
			j.add(rapid.IntRange(1, 400).Draw(rt, "events"))
			p.set(rapid.SampledFrom([]mode{pass, refuse, cut, freeze}).Draw(rt, "network"))
			time.Sleep(time.Duration(rapid.IntRange(0, 15).Draw(rt, "ms")) * time.Millisecond)
		}
		p.set(pass)
		until(rt, "all is up", func() bool { return log.seq("r1") == j.Last() })
		same(rt, log, j)
		a.stop()
		p.close()
		c.stop()
	})
}

func TestOrders(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	obeying, release := make(chan string, 8), make(chan struct{})
	newAgent(t, c.server.URL, j, func(o *UplinkOptions) {
		o.Obey = func(_ context.Context, o *messages.Order) {
			obeying <- o.GetId()
			<-release
		}
	})
	until(t, "it is connected", func() bool { return c.line("r1") != nil })
	first := c.line("r1")
	give := func(l *line, ids ...string) {
		for _, id := range ids {
			l.orders <- &messages.Order{Id: id, Rack: "r1", Verb: "halt"}
		}
	}
	give(first, "a", "b", "a")
	if got := <-obeying; got != "a" {
		t.Fatal(got)
	}
	// A new connection gives them again, while the first is being carried out.
	first.kick(errors.New("on purpose"))
	until(t, "it is connected anew", func() bool { return c.line("r1") != first })
	give(c.line("r1"), "a", "b", "c")
	until(t, "they came down", func() bool { return len(c.line("r1").orders) == 0 })
	c.line("r1").orders <- &messages.Order{Id: "x", Rack: "r1"}
	until(t, "they came down", func() bool { return len(c.line("r1").orders) == 0 })
	close(release)
	for _, want := range []string{"b", "c", "x"} {
		select {
		case got := <-obeying:
			if got != want {
				t.Fatalf("%s instead of %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s was not given", want)
		}
	}
}

// TestAnOrderForAnotherRack is a fault of the coordinator: nothing is obeyed.
func TestAnOrderForAnotherRack(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	a := newAgent(t, c.server.URL, j, nil)
	until(t, "it is connected", func() bool { return c.line("r1") != nil })
	first := c.line("r1")
	first.orders <- &messages.Order{Id: "a", Rack: "r2", Verb: "halt"}
	until(t, "it connected anew", func() bool { return c.line("r1") != first })
	a.stop()
	if len(a.obeyed) > 0 {
		t.Errorf("obeyed %v", a.obeyed)
	}
}

func TestOneAgentOwnsARack(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	j.add(7)
	a := newAgent(t, c.server.URL, j, nil)
	until(t, "all is up", func() bool { return log.seq("r1") == 7 })
	second := newAgent(t, c.server.URL, newOwn(), func(o *UplinkOptions) { o.Name = "j2" })
	<-second.done
	var s *Superseded
	if !errors.As(second.err, &s) || s.By.GetJournal() != "j1" || s.By.GetEpoch() != 1 {
		t.Fatalf("%v", second.err)
	}
	client, err := Dial(c.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var got []rack.Event
	take := func(plan []byte, epoch, last uint64, events []rack.Event) error {
		got = append(got, events...)
		if epoch != 2 || last != 7 || len(plan) == 0 {
			return fmt.Errorf("%q %d %d", plan, epoch, last)
		}
		return nil
	}
	if err := Adopt(t.Context(), client, "r1", "j2", false, take); err == nil || !strings.Contains(err.Error(), "lives") {
		t.Fatalf("a living agent was replaced: %v", err)
	}
	if err := Adopt(t.Context(), client, "r1", "j2", true, take); err != nil {
		t.Fatal(err)
	}
	if len(got) != 7 {
		t.Fatalf("%d events", len(got))
	}
	j.add(1)
	<-a.done
	if !errors.As(a.err, &s) || s.By.GetJournal() != "j2" || s.By.GetEpoch() != 2 {
		t.Fatalf("the old agent: %v", a.err)
	}
	if log.seq("r1") != 7 {
		t.Error("the old agent wrote")
	}
	if err := Adopt(t.Context(), client, "r9", "j2", true, take); err == nil || !strings.Contains(err.Error(), "without --adopt") {
		t.Errorf("%v", err)
	}
}

func TestHistoriesThatWentApart(t *testing.T) {
	for name, change := range map[string]func(*own){
		"the journal is shorter": func(o *own) { o.events = o.events[:3] },
		"an event differs":       func(o *own) { o.events[6].Detail.Reason = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			log, j := newRecord(), newOwn()
			c := newCoordinator(t, log)
			j.add(7)
			a := newAgent(t, c.server.URL, j, nil)
			until(t, "all is up", func() bool { return log.seq("r1") == 7 })
			a.stop()
			change(j)
			b := newAgent(t, c.server.URL, j, nil)
			<-b.done
			var d *Diverged
			if !errors.As(b.err, &d) {
				t.Errorf("%v", b.err)
			}
		})
	}
}

// The wait before the next try grows with tries that fail, not with connections
// that held for a while.
func TestConnectionsThatHeld(t *testing.T) {
	c := newCoordinator(t, newRecord())
	newAgent(t, c.server.URL, newOwn(), func(o *UplinkOptions) { o.BackoffMax = time.Minute })
	began := time.Now()
	var last *line
	for range 14 { // the wait would be 8 s by then
		until(t, "the agent is connected anew, and beats", func() bool {
			l := c.line("r1")
			if l == nil || l == last {
				return false
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.beats > 3
		})
		last = c.line("r1")
		last.kick(errors.New("away"))
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A copy of the agent's state that starts elsewhere is turned away, and the agent
// stays connected.
func TestACopyOfTheAgent(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	j.add(7)
	newAgent(t, c.server.URL, j, nil)
	until(t, "all is up", func() bool { return log.seq("r1") == 7 })
	line := c.line("r1")
	old := newOwn()
	old.add(3)
	b := newAgent(t, c.server.URL, old, nil)
	<-b.done
	var d *Diverged
	if !errors.As(b.err, &d) || !strings.Contains(d.What, "7 events, the journal 3") {
		t.Errorf("the copy: %v", b.err)
	}
	j.add(1)
	until(t, "the agent goes on", func() bool { return log.seq("r1") == 8 })
	if c.line("r1") != line {
		t.Error("the copy was taken for the agent")
	}
}

func TestAnUnknownPlanIsAskedFor(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	c.wants = true
	newAgent(t, c.server.URL, j, nil)
	until(t, "the plan is up", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.plans) > 0 })
	if !bytes.Equal(c.plans[0], []byte("the agent's plan")) {
		t.Errorf("%q", c.plans[0])
	}
}

// TestNobodySpeaksForAnotherRack sends every message in another rack's name.
func TestNobodySpeaksForAnotherRack(t *testing.T) {
	log := newRecord()
	c := newCoordinator(t, log)
	c.is = "r1"
	client, err := Dial(c.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hello := func(rack string) *messages.ConnectRequest {
		return &messages.ConnectRequest{Message: &messages.ConnectRequest_Hello{Hello: &messages.Hello{Rack: rack, Journal: "j1"}}}
	}
	batch := func(events ...*messages.Event) *messages.ConnectRequest {
		return &messages.ConnectRequest{Message: &messages.ConnectRequest_Events{Events: &messages.EventBatch{Events: events}}}
	}
	event := func(rack string, seq uint64) *messages.Event {
		return &messages.Event{Rack: rack, Seq: seq, Kind: "observed"}
	}
	for name, says := range map[string][]*messages.ConnectRequest{
		"hello":                  {hello("r2")},
		"hello, no rack":         {hello("")},
		"hello, a pattern":       {hello("*")},
		"hello, a longer name":   {hello("r1.r2")},
		"no hello":               {batch(event("r1", 1))},
		"nothing":                {{}},
		"hello twice":            {hello("r1"), hello("r1")},
		"events of another rack": {hello("r1"), batch(event("r2", 1))},
		"the second of another":  {hello("r1"), batch(event("r1", 1), event("r2", 2))},
		"no events":              {hello("r1"), batch()},
		"a gap":                  {hello("r1"), batch(event("r1", 1), event("r1", 3))},
		"no number":              {hello("r1"), batch(event("r1", 0))},
		"a role that is none":    {hello("r1"), batch(&messages.Event{Rack: "r1", Seq: 1, Role: "king"})},
		"too many":               {hello("r1"), batch(many(2*maxBatch + 1)...)},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			stream := client.Connect(ctx)
			for _, m := range says {
				if stream.Send(m) != nil {
					break
				}
			}
			var err error
			for err == nil {
				_, err = stream.Receive()
			}
			if code := connect.CodeOf(err); code != connect.CodePermissionDenied && code != connect.CodeInvalidArgument {
				t.Errorf("%v", err)
			}
			_ = stream.CloseResponse()
		})
	}
	err = Adopt(t.Context(), client, "r2", "j2", true, func([]byte, uint64, uint64, []rack.Event) error { return nil })
	if connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("adopt: %v", err)
	}
	if log.seq("r2") > 0 || log.seq("r1") > 0 || log.heads["r2"].Epoch > 0 {
		t.Errorf("something was written: %v", log.heads)
	}
}

func many(n int) (out []*messages.Event) {
	for i := range n {
		out = append(out, &messages.Event{Rack: "r1", Seq: uint64(i + 1), Kind: "observed"})
	}
	return out
}

// FuzzEvents: whatever an agent sends is taken or refused.
func FuzzEvents(f *testing.F) {
	for _, e := range [][]*messages.Event{many(2), {{}}, nil} {
		b, err := proto.Marshal(&messages.EventBatch{Events: e})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m messages.EventBatch
		if proto.Unmarshal(b, &m) != nil || checkEvents("r1", m.GetEvents()) != nil {
			return
		}
		for i, e := range m.GetEvents() {
			if e.GetRack() != "r1" || e.GetSeq() != m.GetEvents()[0].GetSeq()+uint64(i) {
				t.Fatalf("taken: %v", e)
			}
		}
	})
}

func TestTargets(t *testing.T) {
	for target, ok := range map[string]bool{"https://h:1": true, "http://127.0.0.1:1": true, "http://localhost:1": true, "unix:///x/y.sock": true,
		"http://10.0.0.1:1": false, "": false, "h:1": false, "unix://": false, "ftp://h": false, "https://": false} {
		c, err := Dial(target, nil)
		if (err == nil) != ok {
			t.Errorf("%q: %v", target, err)
		}
		if c != nil {
			c.Close()
		}
	}
}

// TestALogThatIsBehind must not end the agent that owns the rack: a replica that
// lags may name the agent of before.
func TestALogThatIsBehind(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	log.heads["r1"] = Head{Epoch: 1, Journal: "j0"}
	j.add(3)
	a := newAgent(t, c.server.URL, j, func(o *UplinkOptions) { o.Epoch = 2 })
	until(t, "it was refused", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.state.Err != nil })
	log.mu.Lock()
	log.heads["r1"] = Head{Epoch: 2, Journal: "j1"}
	log.mu.Unlock()
	until(t, "its events are up", func() bool {
		select {
		case <-a.done:
			t.Fatalf("it ended: %v", a.err)
		default:
		}
		return log.seq("r1") == 3
	})
}

// TestWhoIsRevokedWhileItConnects is not attached, and a stream that is open ends.
func TestWhoIsRevokedWhileItConnects(t *testing.T) {
	log := newRecord()
	c := newCoordinator(t, log)
	var mu sync.Mutex
	calls, good := 0, 1
	c.door.o.Rack = func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls > good {
			return "", errors.New("revoked")
		}
		return "r1", nil
	}
	for _, n := range []int{1, 3} { // right behind the greeting; later
		mu.Lock()
		calls, good = 0, n
		mu.Unlock()
		a := newAgent(t, c.server.URL, newOwn(), func(o *UplinkOptions) { o.BackoffMin, o.BackoffMax = time.Hour, time.Hour })
		until(t, "it is refused", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return connect.CodeOf(a.state.Err) == connect.CodeUnauthenticated
		})
		if l := c.line("r1"); !l.gone {
			t.Error("it is still attached")
		}
		a.stop()
	}
}

// TestWhatAnAgentSaysOfItselfIsBounded: the coordinator holds it in memory.
func TestWhatAnAgentSaysOfItselfIsBounded(t *testing.T) {
	c := newCoordinator(t, newRecord())
	long := strings.Repeat("x", 1<<20)
	for name, change := range map[string]func(*UplinkOptions){
		"hello": func(o *UplinkOptions) { o.Hello = func() *messages.Hello { return &messages.Hello{Version: long} } },
		"heartbeat": func(o *UplinkOptions) {
			o.Heartbeat = func() *messages.Heartbeat {
				return &messages.Heartbeat{Transfers: []*messages.Transfer{{Device: long}}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, c.server.URL, newOwn(), change)
			until(t, "it is refused", func() bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				return connect.CodeOf(a.state.Err) == connect.CodeInvalidArgument
			})
		})
	}
}
