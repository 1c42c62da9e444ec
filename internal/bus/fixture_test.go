package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

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
func (l *line) left() bool                     { l.mu.Lock(); defer l.mu.Unlock(); return l.gone }
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
	kicks int
}

func newCoordinator(t testing.TB, log *record) *coordinator {
	c := &coordinator{t: t, log: log, ended: make(chan struct{}), lines: map[string][]*line{}}
	d := NewDoor(DoorOptions{Log: log, Ended: c.ended, KeepaliveEvery: 20 * time.Millisecond,
		Rack:   func(context.Context) (string, error) { return c.is, nil },
		Attach: c.attach,
		Connected: func(_ context.Context, rack string) (bool, error) {
			l := c.line(rack)
			return l != nil && !l.left(), nil
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
			c.mu.Lock()
			c.kicks++
			c.mu.Unlock()
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
	uplink  *Uplink
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
		Welcomed: func(epoch uint64) error { a.mu.Lock(); a.epoch = epoch; a.mu.Unlock(); return nil },
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
	a.cancel, a.uplink = cancel, NewUplink(a.o)
	go func() {
		defer close(a.done)
		a.err = a.uplink.Run(ctx)
	}()
	t.Cleanup(func() { a.stop(); client.Close() })
	return a
}

// ends waits until the Uplink has ended by itself.
func (a *agent) ends(what string) {
	a.t.Helper()
	until(a.t, what, func() bool {
		select {
		case <-a.done:
			return true
		default:
			return false
		}
	})
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

func many(n int) (out []*messages.Event) {
	for i := range n {
		out = append(out, &messages.Event{Rack: "r1", Seq: uint64(i + 1), Kind: "observed"})
	}
	return out
}
