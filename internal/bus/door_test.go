package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

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
	if c.kicks != 1 {
		t.Errorf("the old agent was told %d times", c.kicks)
	}
	a.ends("the old agent ends, also when it has nothing to say")
	if !errors.As(a.err, &s) || s.By.GetJournal() != "j2" || s.By.GetEpoch() != 2 {
		t.Fatalf("the old agent: %v", a.err)
	}
	if err := Adopt(t.Context(), client, "r9", "j2", true, take); err == nil || !strings.Contains(err.Error(), "without --adopt") {
		t.Errorf("%v", err)
	}
}

// TestARackThatAnotherCoordinatorGaveAway: the log says so, once its agent writes.
func TestARackThatAnotherCoordinatorGaveAway(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	j.add(7)
	a := newAgent(t, c.server.URL, j, nil)
	until(t, "all is up", func() bool { return log.seq("r1") == 7 })
	head, err := log.Head(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Claim(t.Context(), "r1", "j2", head); err != nil {
		t.Fatal(err)
	}
	j.add(1)
	a.ends("the old agent is told")
	var s *Superseded
	if !errors.As(a.err, &s) || s.By.GetJournal() != "j2" || s.By.GetEpoch() != 2 {
		t.Fatalf("the old agent: %v", a.err)
	}
	if log.seq("r1") != 7 {
		t.Error("the old agent wrote")
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

// TestWhoIsRevokedWhileItConnects is not attached, and a stream that is open ends.
func TestWhoIsRevokedWhileItConnects(t *testing.T) {
	for _, x := range []struct {
		good  int // calls that the certificate is good for
		every time.Duration
	}{
		{1, time.Hour}, // right behind the greeting: nothing looks again in time
		{3, 20 * time.Millisecond},
	} {
		c := newCoordinator(t, newRecord())
		c.door.o.KeepaliveEvery = x.every
		c.wants = true // a plan is sent, perhaps after the end
		var calls atomic.Int64
		c.door.o.Rack = func(context.Context) (string, error) {
			if calls.Add(1) > int64(x.good) {
				return "", errors.New("revoked")
			}
			return "r1", nil
		}
		a := newAgent(t, c.server.URL, newOwn(), func(o *UplinkOptions) {
			o.BackoffMin, o.BackoffMax, o.HeartbeatEvery = time.Hour, time.Hour, time.Minute
		})
		until(t, "it is refused", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return connect.CodeOf(a.state.Err) == connect.CodeUnauthenticated
		})
		if l := c.line("r1"); !l.left() {
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
