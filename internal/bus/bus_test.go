package bus

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/messages"
)

// leaks are goroutines that others leave (proof_test.go).
var leaks []goleak.Option

// patience bounds what a test waits for; it is no measure of speed.
const patience = 30 * time.Second

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
	a := newAgent(t, c.server.URL, j, nil)
	until(t, "it was tried", func() bool { log.mu.Lock(); defer log.mu.Unlock(); return log.appends > 10 })
	a.mu.Lock()
	if a.state.Acked > 0 {
		t.Errorf("event %d was acknowledged, and is not in the log", a.state.Acked)
	}
	a.mu.Unlock()
	log.mu.Lock()
	log.fail, log.lost = nil, 2 // then written, and not acknowledged
	log.mu.Unlock()
	until(t, "all is up", func() bool { return log.seq("r1") == 5 })
	j.add(5)
	until(t, "all is up", func() bool { return log.seq("r1") == 10 })
	same(t, log, j)
}

// TestALogThatLacksItsEnd under an open connection, such as one of a cluster that
// lost its leader, is given what it lacks: that is no other history.
func TestALogThatLacksItsEnd(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	j.add(10)
	newAgent(t, c.server.URL, j, nil)
	until(t, "all is up", func() bool { return log.seq("r1") == 10 })
	log.mu.Lock()
	sum, err := messages.Sum(log.events["r1"][4])
	if err != nil {
		t.Fatal(err)
	}
	h := log.heads["r1"]
	h.Seq, h.Sum = 5, sum
	log.heads["r1"], log.events["r1"] = h, log.events["r1"][:5]
	log.mu.Unlock()
	j.add(1)
	until(t, "all is up again", func() bool { return log.seq("r1") == 11 })
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
	a := newAgent(t, c.server.URL, j, func(o *UplinkOptions) {
		o.HeartbeatEvery = time.Second // no connection ends but that which the test ends
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
	give(c.line("r1"), "x")
	// The last of them has arrived, and so have those before it.
	until(t, "they came down", func() bool { a.uplink.mu.Lock(); defer a.uplink.mu.Unlock(); return a.uplink.known["x"] })
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
