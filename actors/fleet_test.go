package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

func TestARackIsWhatItsLogSays(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.append("r1", begins)
		ready := rack.Event{Device: "mgmt-1", Role: rack.ManagementSwitch, Kind: rack.DeviceReady}
		r.append("r1", ready)
		m := ask[*messages.Rack](r, &GetRack{Rack: "r1"})
		if m.GetStatus() != "imaging" || m.GetLastSeq() != 2 || m.GetDevices()[0].GetStatus() != "ready" || m.GetAgent().GetConnected() {
			t.Errorf("%v", m)
		}
		// A second coordinator on the same log says the same, whatever it has read when it is asked.
		first := r.fleet
		r.start()
		second := r.fleet
		r.send(&Logged{Entries: []LogEntry{{Rack: "r1", Epoch: 1, Events: r.events["r1"]}}})
		n := ask[*messages.Rack](r, &GetRack{Rack: "r1"})
		if n.GetStatus() != m.GetStatus() || n.GetDevices()[0].GetStatus() != "ready" {
			t.Errorf("%v", n)
		}
		r.fleet = first
		if err := r.system.Root.StopFuture(second).Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnOrderIsGivenUntilItIsAnswered(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.append("r1", begins)
		o := &messages.Order{Id: "o1", Rack: "r1", Verb: "halt"}
		if err := r.keep(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		first := r.attach("r1")
		if got := given(first); !slices.Equal(got, []string{"o1"}) {
			t.Fatalf("on the first line: %v", got)
		}
		r.send(&AgentHeard{Rack: "r1", Line: first, Heartbeat: &messages.Heartbeat{LastSeq: 1}})
		if got := given(first); len(got) > 0 {
			t.Errorf("given twice on one line: %v", got)
		}
		second := r.attach("r1")
		select {
		case <-first.Kicked():
		default:
			t.Error("two lines of one agent live")
		}
		if got := given(second); !slices.Equal(got, []string{"o1"}) {
			t.Errorf("on the second line: %v", got)
		}
		r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1", Reason: "so already"}})
		third := r.attach("r1")
		if got := given(third); len(got) > 0 || !slices.Contains(r.answered, "o1") {
			t.Errorf("given after its answer: %v, dropped %v", got, r.answered)
		}
		// The queue may tell of it once more, behind the answer.
		r.send(&Ordered{o})
		if got := given(third); len(got) > 0 {
			t.Errorf("given after its answer: %v", got)
		}
	})
}

func TestWhoOrdersHearsTheAnswer(t *testing.T) {
	for _, x := range []struct {
		name  string
		event rack.Event
		want  string
	}{
		{"obeyed", rack.Event{Kind: rack.RackDraining, Detail: rack.Detail{Order: "o1"}}, ""},
		{"so already", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1", Reason: "so already"}}, ""},
		{"refused", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1", Error: "halt: no", Next: "wait"}}, "halt: no. Next: wait"},
	} {
		t.Run(x.name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, r *records) {
				r.append("r1", begins)
				got := make(chan error, 1)
				go func() {
					a, err := Ask[*Answer](context.Background(), r.system, r.fleet, &Await{Rack: "r1", ID: "o1"})
					if err == nil && a.Event.GetDetail().GetOrder() != "o1" {
						err = fmt.Errorf("another event: %v", a.Event)
					}
					got <- err
				}()
				synctest.Wait()
				r.append("r1", rack.Event{Kind: rack.Observed, Device: "mgmt-1", Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromBMC, Device: "mgmt-1"}}})
				r.append("r1", x.event)
				err := <-got
				if text := fmt.Sprint(err); err == nil && x.want != "" || err != nil && text != x.want {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestAnAdoptedRackIsInDoubt: what a lost agent said of devices that were not ready
// may be out of date.
// TestAClockThatIsWrong: the times of a rack's events are those of its agent, and
// are compared with each other only; when the agent was heard of is the
// coordinator's time.
func TestAClockThatIsWrong(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			inFleet(t, func(t *testing.T, r *records) {
				r.skew = skew
				l := r.attach("r1")
				r.append("r1", begins)
				time.Sleep(10 * time.Minute)
				r.append("r1", rack.Event{Kind: rack.RackCompleted})
				r.send(&AgentHeard{Rack: "r1", Line: l, Heartbeat: &messages.Heartbeat{Time: timestamppb.New(time.Now().Add(skew)), LastSeq: 2}})
				m := ask[*messages.Rack](r, &GetRack{Rack: "r1"})
				if heard := m.GetAgent().GetLastHeard().AsTime(); !heard.Equal(time.Now()) {
					t.Errorf("heard of at %s, it is %s", heard, time.Now())
				}
				if last := m.GetLastTime().AsTime(); !last.Equal(time.Now().Add(skew)) {
					t.Errorf("its newest event is of %s", last)
				}
				synctest.Wait()
				c := ask[Counts](r, &GetCounts{})
				if len(c.Racks) != 1 || c.Racks[0].Run != 10*time.Minute || !c.Racks[0].Connected || c.Racks[0].Lag != 0 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

func TestAnAdoptedRackIsInDoubt(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.append("r1", begins, rack.Event{Device: "mgmt-1", Role: rack.ManagementSwitch, Kind: rack.DeviceReady})
		r.send(&Logged{Entries: []LogEntry{{Rack: "r1", Epoch: 2, Claim: true}}})
		m := ask[*messages.Rack](r, &GetRack{Rack: "r1"})
		if m.GetDevices()[0].GetStatus() != "ready" || m.GetDevices()[1].GetStatus() != "uncertain" || m.GetAgent().GetEpoch() != 2 {
			t.Errorf("%v", m)
		}
	})
}

// TestALogThatCannotBeRead is told, and is no reason to show an idle rack.
func TestALogThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{}, fail: errors.New("the disk has gone")}
		e := begins
		e.Rack, e.Seq, e.Time = "r1", 1, time.Now()
		r.events["r1"] = []*messages.Event{messages.FromEvent(e)}
		r.spawn()
		defer r.stop()
		r.send(&Known{[]KnownRack{{Rack: "r1", Due: 1}}}) // the log held it when the coordinator began
		r.send(&CaughtUp{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if m, err := Ask[*messages.Rack](ctx, r.system, r.fleet, &GetRack{Rack: "r1"}); err == nil || !strings.Contains(err.Error(), "the disk has gone") {
			t.Errorf("%v %v", m, err)
		}
		r.mu.Lock()
		r.fail = nil
		r.mu.Unlock()
		if m := ask[*messages.Rack](r, &GetRack{Rack: "r1"}); m.GetStatus() != "imaging" {
			t.Errorf("%v", m)
		}
	})
}

// TestAFleetBeginsAsManyAsItMay, and the next one when one has ended.
func TestAFleetBeginsAsManyAsItMay(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		spec := fleet.Spec{Name: "f", AtOnce: 2, Racks: []string{"r3", "r1", "r2"}}
		lines := map[string]*Line{}
		for _, n := range spec.Racks {
			r.send(&Planned{Rack: n, Hash: "aa"})
			lines[n] = r.attach(n)
		}
		r.send(&Want{&Desired{ID: "7", Spec: spec, By: "ada", Plans: map[string]string{"r1": "aa", "r2": "aa", "r3": "aa"}}})
		var ids []string
		for _, o := range r.orders {
			ids = append(ids, o.GetId())
		}
		slices.Sort(ids)
		if !slices.Equal(ids, []string{"fleet-7-r1", "fleet-7-r3"}) {
			t.Fatalf("%v", ids)
		}
		if o := <-lines["r3"].Orders(); string(o.GetPlan()) != "plan of r3" || o.GetVerb() != messages.VerbApply || o.GetBy() != "ada" {
			t.Errorf("%v", o)
		}
		for _, n := range []string{"r3", "r1"} {
			e := begins
			e.Detail.Order = "fleet-7-" + n
			r.append(n, e)
		}
		if len(r.orders) != 2 {
			t.Fatalf("three at once: %v", r.orders)
		}
		r.append("r1", rack.Event{Kind: rack.RackCompleted})
		if len(r.orders) != 3 || r.orders[2].GetId() != "fleet-7-r2" {
			t.Fatalf("%v", r.orders)
		}
	})
}

// TestWhatStoppedIsNotKnownAtTheStart: that no fleet was heard of yet does not say that
// there is none.
func TestWhatStoppedIsNotKnownAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{}}
		defer r.stop()
		r.spawn()
		stopped := func() (*Stopped, error) {
			return Ask[*Stopped](t.Context(), r.system, r.fleet, &GetStopped{})
		}
		if x, err := stopped(); !errors.Is(err, ErrReading) {
			t.Errorf("before anything was told: %+v, %v", x, err)
		}
		r.send(&Known{})
		r.send(&Want{&Desired{ID: "7", Spec: fleet.Spec{Name: "f", Racks: []string{"r1"}}}})
		if x, err := stopped(); !errors.Is(err, ErrReading) {
			t.Errorf("before all was told: %+v, %v", x, err)
		}
		r.send(&CaughtUp{})
		if x, err := stopped(); err != nil || x.Fleet != "7" {
			t.Errorf("when all was told: %+v, %v", x, err)
		}
		r.send(&Want{})
		if x, err := stopped(); err != nil || x.Fleet != "" {
			t.Errorf("no fleet was applied: %+v, %v", x, err)
		}
	})
}

// TestAFleetOnALogThatIsAway asks it again now and then, and goes on once it is back.
func TestAFleetOnALogThatIsAway(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.send(&Planned{Rack: "r1", Hash: "aa"})
		l := r.attach("r1")
		r.mu.Lock()
		r.broken = true
		r.mu.Unlock()
		r.send(&Want{&Desired{ID: "7", Spec: fleet.Spec{Name: "f", Racks: []string{"r1"}}, Plans: map[string]string{"r1": "aa"}}})
		for range 60 {
			time.Sleep(10 * time.Second)
			r.send(&AgentHeard{Rack: "r1", Line: l, Heartbeat: &messages.Heartbeat{}})
		}
		r.mu.Lock()
		if r.unkept < 10 || r.unkept > 30 {
			t.Errorf("asked %d times in ten minutes", r.unkept)
		}
		r.broken = false
		r.mu.Unlock()
		time.Sleep(beginAgainMax)
		synctest.Wait()
		if got := given(l); !slices.Equal(got, []string{"fleet-7-r1"}) {
			t.Errorf("when the log is back: %q", got)
		}
	})
}

// TestARefusalOfTheFleetIsRemembered when another order is refused behind it: the rack
// takes nobody's place.
func TestARefusalOfTheFleetIsRemembered(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		for _, n := range []string{"r1", "r2"} {
			r.send(&Planned{Rack: n, Hash: "aa"})
			r.attach(n)
		}
		r.send(&Want{&Desired{ID: "7", Spec: fleet.Spec{Name: "f", AtOnce: 1, Racks: []string{"r1", "r2", "r3"}}, Plans: map[string]string{"r1": "aa", "r2": "aa", "r3": "aa"}}})
		r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "fleet-7-r1", Error: "the default route is on its interface"}})
		if err := r.keep(t.Context(), &messages.Order{Id: "o1", Rack: "r1", Verb: string(rack.Retry)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1", Error: "nothing is planned"}})
		e := begins
		e.Detail.Order = "fleet-7-r2"
		r.append("r2", e)
		r.append("r2", rack.Event{Kind: rack.RackCompleted})
		r.send(&Planned{Rack: "r3", Hash: "aa"})
		if got := given(r.attach("r3")); !slices.Equal(got, []string{"fleet-7-r3"}) {
			t.Errorf("r3 was given %q", got)
		}
	})
}

// TestARackWithoutAPlanIsGivenOrders: what an agent without a plan refuses is the
// first event of its journal, and nothing can be rebuilt from it.
func TestARackWithoutAPlanIsGivenOrders(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		l := r.attach("r9")
		r.append("r9", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o0", Error: "no plan"}})
		if err := r.keep(t.Context(), &messages.Order{Id: "o1", Rack: "r9", Verb: string(rack.Retry)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := given(l); !slices.Equal(got, []string{"o1"}) {
			t.Errorf("given: %q", got)
		}
		if m := ask[*messages.Rack](r, &GetRack{"r9"}); m.GetLastSeq() != 1 {
			t.Errorf("%v", m)
		}
	})
}

// TestAnAgentThatWasReplacedIsGivenNothing, also when the other one came in at
// another coordinator.
func TestAnAgentThatWasReplacedIsGivenNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		old := r.attach("r1")
		r.send(&Logged{Entries: []LogEntry{{Rack: "r1", Epoch: 2, Claim: true}}})
		select {
		case <-old.Kicked():
		default:
			t.Error("the agent of epoch 1 is still connected in epoch 2")
		}
		late := r.attach("r1") // it said hello before the claim
		if err := r.keep(t.Context(), &messages.Order{Id: "o1", Rack: "r1", Verb: string(rack.Retry)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-late.Kicked():
		default:
			t.Error("an agent of epoch 1 connected in epoch 2")
		}
		if got := append(given(old), given(late)...); len(got) > 0 {
			t.Errorf("given to an agent that was replaced: %q", got)
		}
	})
}

// TestAnAnswerThatTheLoadHasMet reaches whoever waits for it.
func TestAnAnswerThatTheLoadHasMet(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		var log []*messages.Event
		for i, e := range []rack.Event{begins, {Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1"}}} {
			e.Rack, e.Seq, e.Time = "r1", uint64(i+1), time.Now()
			log = append(log, messages.FromEvent(e))
		}
		r.mu.Lock()
		r.events["r1"] = log
		r.mu.Unlock()
		answer := make(chan *Answer, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			a, _ := Ask[*Answer](ctx, r.system, r.fleet, &Await{"r1", "o1"})
			answer <- a
		}()
		synctest.Wait() // the load has read both, and none was followed so far
		r.send(&Logged{Entries: []LogEntry{{Rack: "r1", Epoch: 1, Events: log}}})
		if a := <-answer; a == nil || a.Event.GetSeq() != 2 {
			t.Errorf("whoever waits was told %v", a)
		}
	})
}

// TestManyOrders: an agent holds no more than a few at once, and is given all.
func TestManyOrders(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.append("r1", begins)
		l := r.attach("r1")
		const many = 200
		for i := range many {
			if err := r.keep(t.Context(), &messages.Order{Id: fmt.Sprint(i), Rack: "r1", Verb: string(rack.Retry)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		var all []string
		for len(all) < many {
			ids := given(l)
			if len(ids) == 0 || len(ids) > ordersOnLine {
				t.Fatalf("%d orders were given behind %d", len(ids), len(all))
			}
			r.send(&AgentHeard{Rack: "r1", Line: l, Heartbeat: &messages.Heartbeat{}})
			if more := given(l); len(more) > 0 {
				t.Fatalf("%d more were given, and %d are not answered", len(more), len(ids))
			}
			for _, id := range ids {
				r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: id}})
			}
			all = append(all, ids...)
		}
		for i, id := range all {
			if id != fmt.Sprint(i) {
				t.Fatalf("order %s came where %d is due", id, i)
			}
		}
	})
}

// TestWhatAStrangerJournals cannot end the coordinator.
func TestWhatAStrangerJournals(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.append("r1", begins)
		r.append("r1", rack.Event{Kind: rack.Observed, Device: "tor-1"}, rack.Event{Kind: rack.LinkOpen, Device: "tor-1", Detail: rack.Detail{Link: "::"}}, rack.Event{Kind: "?", Device: "?"})
		r.send(&Planned{Rack: "r1", Hash: "aa"})
		if m := ask[*messages.Rack](r, &GetRack{"r1"}); m.GetLastSeq() != 4 || m.GetStatus() != string(rack.Imaging) {
			t.Errorf("%v", m)
		}
	})
}
