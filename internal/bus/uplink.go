package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Journal is the journal of an agent, as its Uplink reads it.
type Journal interface {
	// Read returns at most limit events with a sequence of at least from.
	Read(from uint64, limit int) ([]rack.Event, error)
	// Wait returns when an event with a sequence of at least from exists, or with
	// an error.
	Wait(ctx context.Context, from uint64) error
	// Last is the newest event; 0: there is none.
	Last() uint64
}

// State is how an agent is connected.
type State struct {
	Connected bool
	Since     time.Time
	Acked     uint64 // the newest event that is durable in the log, as far as known
	Err       error  // why it is not connected; nil when it is, or was never tried
}

// UplinkOptions are what an Uplink is built from. All fields without a default
// must be set.
type UplinkOptions struct {
	Client messagesconnect.BusServiceClient
	Rack   string
	Name   string // of the journal
	Epoch  uint64 // 0: it was never welcomed
	// Hello is what to say besides; the Uplink fills in rack, journal, epoch and last_seq.
	Hello   func() *messages.Hello
	Journal Journal
	// Welcomed is told the epoch before the first event goes up; it must keep it.
	Welcomed func(epoch uint64) error
	// Siblings is told the server ids of the agents of all other racks, now and whenever
	// they have changed; a coordinator may be of a release that says nothing of them.
	// nil: nobody is told.
	Siblings func(ids []string)
	// Plan is what the run carries out, as JSON, for a coordinator that asks; nil: none.
	Plan func() []byte
	// Obey is given orders, one at a time, in their order. It answers by an event.
	Obey      func(ctx context.Context, o *messages.Order)
	Heartbeat func() *messages.Heartbeat
	// LetGo closes connections that nothing goes over; it is called before each further
	// try, which must not go over one that may be dead. nil: nothing is closed.
	LetGo func()
	// Explain finds a better word for why a connection failed; nil: there is none.
	Explain func(ctx context.Context, err error) error

	HeartbeatEvery time.Duration // 0: HeartbeatEvery
	GatherFor      time.Duration // 0: GatherFor
	BackoffMin     time.Duration // 0: 500 ms
	BackoffMax     time.Duration // 0: 30 s
	State          func(State)   // told of every change; nil: nobody is
	Logger         *slog.Logger  // nil: discarded
	// Away is how loud it is that the coordinator is not connected: once when it goes
	// away or is not there; further tries are told at the debug level.
	Away slog.Level
}

// Uplink is the agent's end of the stream.
type Uplink struct {
	o      UplinkOptions
	orders chan *messages.Order

	mu      sync.Mutex
	ordered time.Time       // when the last order came
	known   map[string]bool // ids that wait, or are being carried out
	state   State
	said    bool // that the coordinator is away; of Run alone
}

// NewUplink makes an Uplink.
func NewUplink(o UplinkOptions) *Uplink {
	if o.HeartbeatEvery == 0 {
		o.HeartbeatEvery = HeartbeatEvery
	}
	if o.GatherFor == 0 {
		o.GatherFor = GatherFor
	}
	if o.BackoffMin == 0 {
		o.BackoffMin = 500 * time.Millisecond
	}
	if o.BackoffMax == 0 {
		o.BackoffMax = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.State == nil {
		o.State = func(State) {}
	}
	if o.LetGo == nil {
		o.LetGo = func() {}
	}
	return &Uplink{o: o, orders: make(chan *messages.Order, ordersInFlight), known: map[string]bool{}}
}

// Run keeps the agent connected until ctx ends, which is no error. Errors: a
// *Superseded, a *Diverged, or that the epoch could not be kept.
func (u *Uplink) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	obeying := make(chan struct{})
	go func() { defer close(obeying); u.obey(ctx) }()
	defer func() { cancel(); <-obeying }()
	for tries := 0; ; tries++ {
		at := time.Now()
		// A connection that is open shows the certificate of before.
		if c, ok := u.o.Client.(interface{ Close() }); ok {
			c.Close()
		}
		err := u.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.err
		}
		if u.o.Explain != nil {
			err = u.o.Explain(ctx, err)
		}
		if u.welcomed() && time.Since(at) > u.o.HeartbeatEvery {
			tries = 0
		}
		u.tell(State{Err: err})
		wait := backoff(u.o.BackoffMin, u.o.BackoffMax, tries)
		u.away(ctx, err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		u.o.LetGo()
	}
}

// welcomed reports whether the last connection came so far.
func (u *Uplink) welcomed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state.Connected
}

// away says that the coordinator is not connected.
func (u *Uplink) away(ctx context.Context, err error, wait time.Duration) {
	level := u.o.Away
	if u.said {
		level = slog.LevelDebug
	}
	u.said = true
	u.o.Logger.Log(ctx, level, "the coordinator is not connected; the rack is imaged on, and its events are sent later", "error", err, "again", wait.Round(time.Millisecond))
}

// backoff is a wait that doubles up to a limit, half of it by chance, so that
// agents that lost one coordinator do not come back at one moment.
func backoff(low, high time.Duration, tries int) time.Duration {
	d := high
	if tries < 16 {
		d = min(low<<tries, high)
	}
	return d/2 + rand.N(d/2+1)
}

// fatalError ends the Uplink.
type fatalError struct{ err error }

func (f *fatalError) Error() string { return f.err.Error() }
func (f *fatalError) Unwrap() error { return f.err }

func (u *Uplink) tell(s State) {
	s.Since = time.Now()
	u.mu.Lock()
	if s.Acked == 0 {
		s.Acked = u.state.Acked
	}
	u.state = s
	u.mu.Unlock()
	u.o.State(s)
}

// obey carries out orders. They outlive the connection that they came on.
func (u *Uplink) obey(ctx context.Context) {
	for {
		select {
		case o := <-u.orders:
			u.o.Obey(ctx, o)
			u.mu.Lock()
			delete(u.known, o.GetId())
			u.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// take queues an order, unless it waits already.
func (u *Uplink) take(o *messages.Order) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ordered = time.Now()
	if u.known[o.GetId()] {
		return
	}
	select {
	case u.orders <- o:
		u.known[o.GetId()] = true
	default:
		u.o.Logger.Warn("too many orders wait; this one is given again at the next connection", "order", o.GetId())
	}
}

type clientStream = connect.BidiStreamForClient[messages.ConnectRequest, messages.ConnectResponse]

// connect is one connection, to its end.
func (u *Uplink) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(max(silenceOf*u.o.HeartbeatEvery, helloLimit), func() { cancel(errors.New("the coordinator is silent")) })
	defer silence.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}()
	stream := u.o.Client.Connect(ctx)
	// The transport waits for more to send, and does not notice that ctx has ended.
	closing := context.AfterFunc(ctx, func() { _ = stream.CloseRequest() })
	defer func() { cancel(nil); closing(); _ = stream.CloseRequest(); _ = stream.CloseResponse() }()
	h := u.o.Hello()
	h.Rack, h.Journal, h.Epoch, h.LastSeq = u.o.Rack, u.o.Name, u.o.Epoch, u.o.Journal.Last()
	if err := stream.Send(&messages.ConnectRequest{Message: &messages.ConnectRequest_Hello{Hello: h}}); err != nil {
		return judged(said(stream, err))
	}
	m, err := stream.Receive()
	if err != nil {
		return judged(err)
	}
	w := m.GetWelcome()
	if w == nil {
		return errors.New("the coordinator did not say welcome: is it of another release?")
	}
	if err := u.welcome(w); err != nil {
		return err
	}
	if w.GetSendPlan() && u.o.Plan != nil {
		if err := stream.Send(&messages.ConnectRequest{Message: &messages.ConnectRequest_Plan{Plan: u.o.Plan()}}); err != nil {
			return judged(said(stream, err))
		}
	}
	silence.Reset(silenceOf * u.o.HeartbeatEvery)
	acks := make(chan uint64, 1)
	received := make(chan error, 1)
	go func() {
		received <- u.receive(ctx, stream, acks, func() { silence.Reset(silenceOf * u.o.HeartbeatEvery) })
		cancel(nil)
	}()
	err = u.send(ctx, stream, w.GetAckedSeq(), acks)
	if !errors.Is(err, io.EOF) { // else the coordinator has ended it, and says why
		cancel(nil)
	}
	if e := <-received; e != nil && !errors.Is(e, context.Canceled) && connect.CodeOf(e) != connect.CodeCanceled {
		err = judged(e)
	}
	return err
}

// said is why the coordinator has ended a stream, where sending found that it has. What
// it said before it ended it, it says again at the next connection.
func said(stream *clientStream, err error) error {
	for errors.Is(err, io.EOF) {
		if _, why := stream.Receive(); why != nil {
			return why
		}
	}
	return err
}

// judged finds what must end the Uplink.
func judged(err error) error {
	var e *connect.Error
	if !errors.As(err, &e) || e.Code() != connect.CodeFailedPrecondition {
		return err
	}
	for _, d := range e.Details() {
		if v, derr := d.Value(); derr == nil {
			switch m := v.(type) {
			case *messages.Superseded:
				return &fatalError{&Superseded{m}}
			case *messages.Diverged:
				return &fatalError{&Diverged{m.GetWhat()}}
			}
		}
	}
	return err
}

// welcome compares histories and keeps the epoch.
func (u *Uplink) welcome(w *messages.Welcome) error {
	if seq := w.GetAckedSeq(); seq > 0 {
		own, err := u.o.Journal.Read(seq, 1)
		if err != nil {
			return &fatalError{fmt.Errorf("read the journal: %w", err)}
		}
		if len(own) == 0 {
			return &fatalError{&Diverged{fmt.Sprintf("it has %d events, the journal %d", seq, u.o.Journal.Last())}}
		}
		sum, err := messages.Sum(messages.FromEvent(own[0]))
		if err != nil {
			return err
		}
		if own[0].Seq != seq || !bytes.Equal(sum, w.GetAckedSum()) {
			return &fatalError{&Diverged{fmt.Sprintf("event %d differs", seq)}}
		}
	}
	if err := u.o.Welcomed(w.GetEpoch()); err != nil {
		return &fatalError{fmt.Errorf("keep the epoch: %w", err)}
	}
	if ids := w.GetSiblingServerIds(); len(ids) > 0 {
		u.siblings(ids)
	}
	u.o.Epoch = w.GetEpoch()
	if u.said {
		u.o.Logger.Log(context.Background(), u.o.Away, "the coordinator is connected", "epoch", w.GetEpoch(), "event", w.GetAckedSeq())
	}
	u.said = false
	u.tell(State{Connected: true, Acked: w.GetAckedSeq()})
	return nil
}

// siblings tells who the siblings are.
func (u *Uplink) siblings(ids []string) {
	if u.o.Siblings != nil {
		u.o.Siblings(ids)
	}
}

// receive takes in what comes down. heard is called for every message.
func (u *Uplink) receive(ctx context.Context, stream *clientStream, acks chan uint64, heard func()) error {
	for {
		m, err := stream.Receive()
		if err != nil {
			return err
		}
		heard()
		switch x := m.GetMessage().(type) {
		case *messages.ConnectResponse_Ack:
			seq := x.Ack.GetSeq()
			select { // only the newest counts
			case old := <-acks:
				seq = max(seq, old)
			default:
			}
			select {
			case acks <- seq:
			case <-ctx.Done():
				return ctx.Err()
			}
		case *messages.ConnectResponse_Order:
			if x.Order.GetRack() != u.o.Rack {
				return fmt.Errorf("the coordinator gave an order for rack %.80q to the agent of %s", x.Order.GetRack(), u.o.Rack)
			}
			u.take(x.Order)
		case *messages.ConnectResponse_Siblings:
			u.siblings(x.Siblings.GetServerIds())
		}
	}
}

// send sends events as they come, and heartbeats, until ctx ends.
func (u *Uplink) send(ctx context.Context, stream *clientStream, acked uint64, acks <-chan uint64) error {
	beat := time.NewTicker(u.o.HeartbeatEvery)
	defer beat.Stop()
	grown := make(chan struct{}, 1)
	following, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); u.follow(following, grown) }()
	defer func() { cancel(); <-ended }()
	if err := u.beat(stream); err != nil {
		return err
	}
	gathered := time.NewTimer(u.o.GatherFor)
	gathered.Stop()
	defer gathered.Stop()
	gathering, due := false, false
	// One batch is on its way at a time: what comes meanwhile goes with the next one,
	// so that a log that is slow is written less often, not more.
	for sent := acked; ; {
		last := u.o.Journal.Last()
		if last > sent && !gathering && !due {
			gathering = true
			gathered.Reset(u.o.GatherFor)
		}
		if sent == acked && last > sent && (due || last-sent >= enough || u.awaited()) {
			gathered.Stop()
			gathering, due = false, false
			events, err := u.batch(sent + 1)
			if err != nil {
				return &fatalError{fmt.Errorf("read the journal: %w", err)}
			}
			if err := stream.Send(&messages.ConnectRequest{Message: &messages.ConnectRequest_Events{Events: &messages.EventBatch{Events: events}}}); err != nil {
				return err
			}
			sent += uint64(len(events))
		}
		select {
		case acked = <-acks:
			u.acked(acked)
			sent = max(sent, acked)
		case <-grown:
		case <-gathered.C:
			gathering, due = false, true
		case <-beat.C:
			if err := u.beat(stream); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaited reports whether somebody may wait for what is journalled now: the answer
// to an order.
func (u *Uplink) awaited() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.known) > 0 || time.Since(u.ordered) < orderedFor
}

func (u *Uplink) acked(seq uint64) {
	u.mu.Lock()
	u.state.Acked = max(seq, u.state.Acked)
	s := u.state
	u.mu.Unlock()
	u.o.State(s)
}

func (u *Uplink) beat(stream *clientStream) error {
	return stream.Send(&messages.ConnectRequest{Message: &messages.ConnectRequest_Heartbeat{Heartbeat: u.o.Heartbeat()}})
}

// follow says whenever the journal has grown.
func (u *Uplink) follow(ctx context.Context, grown chan<- struct{}) {
	for from := u.o.Journal.Last() + 1; u.o.Journal.Wait(ctx, from) == nil; from = u.o.Journal.Last() + 1 {
		select {
		case grown <- struct{}{}:
		default:
		}
	}
}

// batch is as many events from a sequence on as one message carries.
func (u *Uplink) batch(from uint64) ([]*messages.Event, error) {
	events, err := u.o.Journal.Read(from, maxBatch)
	if err != nil {
		return nil, err
	}
	var out []*messages.Event
	size := 0
	for _, e := range events {
		m := messages.FromEvent(e)
		if size += proto.Size(m) + 8; size > maxBytes && len(out) > 0 {
			break
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("event %d is not there", from)
	}
	return out, nil
}
