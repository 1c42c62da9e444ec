package actors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// savedRuns is what coordinators have saved, as it is stored.
type savedRuns struct {
	mu    sync.Mutex
	heads map[string][]byte
	runs  map[string][]byte
	times int
	read  int   // runs
	fail  error // of reading
}

func nothingSaved() *savedRuns {
	return &savedRuns{heads: map[string][]byte{}, runs: map[string][]byte{}}
}

func (s *savedRuns) save(x *Saved) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	head, err := json.Marshal(x)
	if err != nil {
		return err
	}
	run, err := json.Marshal(x.Run)
	s.heads[x.Rack], s.runs[x.Rack] = head, run
	s.times++
	return err
}

func (s *savedRuns) run(x *Saved) (*rack.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	var out rack.Snapshot
	s.read++
	return &out, json.Unmarshal(s.runs[x.Rack], &out)
}

func (s *savedRuns) of(name string) *Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads[name] == nil {
		return nil
	}
	var out Saved
	if err := json.Unmarshal(s.heads[name], &out); err != nil {
		panic(err)
	}
	return &out
}

// logOf is the log of a rack that was imaged, with orders, and two agents that
// replaced others; a message holds one to five events.
func logOf(t *testing.T, chance *rand.Rand) []LogEntry {
	t.Helper()
	w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 2))
	w.start()
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	w.finish()
	events := w.journalled()
	if chance.IntN(2) == 0 {
		events = append(events, rack.Event{Kind: rack.RackResumed})
	}
	claimed := len(events) / 4 * (2 + chance.IntN(3))
	events = append(events, rack.Event{Kind: rack.ReimageOrdered, Device: "server-01", Role: rack.Server, Detail: rack.Detail{Order: "o3", By: "ada", Reason: "why not"}},
		rack.Event{Kind: rack.DeviceReplaced, Device: "tor-1", Role: rack.ToRSwitch, Detail: rack.Detail{By: "ada"}},
		rack.Event{Kind: rack.DeviceBound, Device: "tor-1", Role: rack.ToRSwitch, Detail: rack.Detail{Seen: &rack.Observation{MAC: "52:54:00:00:00:77"}}})
	events = slices.Insert(events, 1, rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1", Reason: "so already"}},
		rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o2", Error: "no"}})
	out := []LogEntry{{Epoch: 1, Claim: true}}
	epoch := uint64(1)
	claims := []int{len(events) / 5, claimed, len(events)}
	for at := 0; at < len(events); {
		n := min(1+chance.IntN(5), claims[0]-at)
		e := LogEntry{Epoch: epoch}
		for i := at; i < at+n; i++ {
			x := events[i]
			x.Rack, x.Seq, x.Time = "r1", uint64(i+1), time.Now().Add(time.Duration(i)*time.Second)
			if x.Kind == rack.RackStarted {
				x.Detail.PlanHash = "aa"
			}
			e.Events = append(e.Events, messages.FromEvent(x))
		}
		out = append(out, e)
		at += n
		if at == claims[0] && at < len(events) {
			epoch, claims = epoch+1, claims[1:]
			out = append(out, LogEntry{Epoch: epoch, Claim: true})
		}
	}
	for i := range out {
		// The log holds other racks too.
		out[i].Rack, out[i].Position, out[i].Time = "r1", uint64(3*i+2), time.Now().Add(time.Duration(i)*time.Millisecond)
	}
	return out
}

// eventsOf are the events of a part of a log.
func eventsOf(log []LogEntry) (out []*messages.Event) {
	for _, e := range log {
		out = append(out, e.Events...)
	}
	return out
}

// coordinator is a Fleet on a log.
func coordinator(t *testing.T, s *savedRuns, log []LogEntry) *records {
	r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{"r1": eventsOf(log)}, saves: s}
	r.spawn()
	return r
}

// told is all that a coordinator tells of a rack, and what it saves of it when it
// ends.
type told struct {
	rack   *messages.Rack
	fleet  *messages.Fleet
	counts Counts
	head   *Saved
	run    []byte
}

func (r *records) tells(name string) (x told) {
	x.fleet = ask[*messages.Fleet](r, &GetFleet{Whole: true})
	x.counts = ask[Counts](r, &GetCounts{})
	x.rack = ask[*messages.Rack](r, &GetRack{name}) // for which the run is read
	synctest.Wait()
	if again := ask[*messages.Fleet](r, &GetFleet{Whole: true}); !proto.Equal(again, x.fleet) {
		r.t.Errorf("with the run it tells\n%v, and told\n%v", again, x.fleet)
	}
	r.stop()
	x.head, x.run = r.saves.of(name), r.saves.runs[name]
	return x
}

func (x told) differs(y told) error {
	switch {
	case !proto.Equal(x.rack, y.rack):
		return fmt.Errorf("of the rack:\n%v\n%v", x.rack, y.rack)
	case !proto.Equal(x.fleet, y.fleet):
		return fmt.Errorf("of the fleet:\n%v\n%v", x.fleet, y.fleet)
	case !reflect.DeepEqual(x.counts, y.counts):
		return fmt.Errorf("in its metrics:\n%+v\n%+v", x.counts, y.counts)
	case !reflect.DeepEqual(x.head, y.head):
		return fmt.Errorf("in what is saved:\n%+v\n%+v", x.head, y.head)
	case !bytes.Equal(x.run, y.run):
		return fmt.Errorf("in what is saved of the run:\n%s\n%s", x.run, y.run)
	}
	return nil
}

func due(log []LogEntry) uint64 { return uint64(len(eventsOf(log))) }

// TestWhatWasSavedAndTheRest: wherever a coordinator was when it ended, the next one
// tells the same as one that reads all of the log, also when the log is followed
// from before that place.
func TestWhatWasSavedAndTheRest(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 1))
			log := logOf(t, chance)
			all := coordinator(t, nothingSaved(), log)
			all.send(&Known{[]KnownRack{{Rack: "r1", Due: due(log)}}})
			all.send(&Logged{Entries: log})
			all.send(&CaughtUp{})
			want := all.tells("r1")
			if want.rack.GetLastSeq() < 100 || want.rack.GetAgent().GetEpoch() != 3 {
				t.Fatalf("the log says little: %v", want.rack)
			}
			asked := coordinator(t, nothingSaved(), log)
			asked.send(&Known{[]KnownRack{{Rack: "r1", Due: due(log)}}})
			ask[*messages.Rack](asked, &GetRack{"r1"}) // it is read before it is followed
			asked.send(&Logged{Entries: log})
			asked.send(&CaughtUp{})
			if err := asked.tells("r1").differs(want); err != nil {
				t.Errorf("seed %d, read before it was followed: %v", seed, err)
			}
			for i := range 12 {
				cut := len(log) - i // near the end much depends on what is saved
				if i > 2 {
					cut = 1 + chance.IntN(len(log))
				}
				if err := restarted(t, log, cut, chance.IntN(cut+1)).differs(want); err != nil {
					t.Errorf("seed %d, saved after message %d of %d: %v", seed, cut, len(log), err)
				}
			}
		})
	}
}

// restarted is what a coordinator tells that was started on what another one had
// saved when it had read the log up to a message; it follows the log from another.
func restarted(t *testing.T, log []LogEntry, cut, from int) told {
	s := nothingSaved()
	before := coordinator(t, s, log[:cut])
	before.send(&Known{})
	before.send(&CaughtUp{})
	before.send(&Logged{Entries: log[:cut]})
	before.stop()
	x := s.of("r1")
	if x == nil || x.Position != log[cut-1].Position {
		t.Fatalf("saved after message %d: %+v", cut, x)
	}
	after := coordinator(t, s, log)
	after.mu.Lock()
	after.fail = errors.New("the log was read from its first event")
	after.mu.Unlock()
	after.send(&Known{[]KnownRack{{Rack: "r1", Due: due(log), Saved: x}}})
	after.send(&Logged{Entries: log[min(from, cut):]})
	after.send(&CaughtUp{})
	return after.tells("r1")
}

// TestWhatDoesNotFit is thrown away, and the log read.
func TestWhatDoesNotFit(t *testing.T) {
	for name, spoil := range map[string]func(s *savedRuns, x *Saved){
		"it cannot be read":       func(s *savedRuns, _ *Saved) { s.fail = errors.New("a bad block") },
		"its plan is not known":   func(_ *savedRuns, x *Saved) { x.PlanHash = "bb" },
		"it is of another core":   func(s *savedRuns, _ *Saved) { s.runs["r1"] = []byte(`{"Version":0}`) },
		"it is of something else": func(s *savedRuns, _ *Saved) { s.runs["r1"] = []byte(`{"Version":2,"Status":"idle"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logOf(t, rand.New(rand.NewPCG(1, 1)))
				s := nothingSaved()
				before := coordinator(t, s, log)
				before.send(&Known{})
				before.send(&CaughtUp{})
				before.send(&Logged{Entries: log})
				want, fleet := ask[*messages.Rack](before, &GetRack{"r1"}), ask[*messages.Fleet](before, &GetFleet{})
				before.stop()
				x := s.of("r1")
				spoil(s, x)
				after := coordinator(t, s, log)
				defer after.stop()
				after.send(&Known{[]KnownRack{{Rack: "r1", Due: due(log), Saved: x}}})
				after.send(&CaughtUp{})
				if got := ask[*messages.Fleet](after, &GetFleet{}); !proto.Equal(got, fleet) {
					t.Errorf("it tells\n%v, and told\n%v", got, fleet)
				}
				if got := ask[*messages.Rack](after, &GetRack{"r1"}); !proto.Equal(got, want) {
					t.Errorf("it tells\n%v, and told\n%v", got, want)
				}
			})
		})
	}
}

// TestWhatIsBeingRead is told as that, and never as a rack that is idle.
func TestWhatIsBeingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logOf(t, rand.New(rand.NewPCG(2, 1)))
		r := coordinator(t, nil, log)
		defer r.stop()
		reading := func() bool {
			f := ask[*messages.Fleet](r, &GetFleet{})
			c := ask[Counts](r, &GetCounts{})
			for i, x := range f.GetRacks() {
				if (x.GetStatus() == Reading) != (c.Racks[i].Status == "") || x.GetStatus() == string(rack.Idle) {
					t.Errorf("%v is in the metrics %+v", x, c.Racks[i])
				}
			}
			return f.GetStatus() == Reading
		}
		if !reading() {
			t.Error("before it is told what the log holds")
		}
		r.send(&Planned{Rack: "r1", Hash: "aa"})
		line := r.attach("r1")
		if err := r.keep(t.Context(), &messages.Order{Id: "o1", Rack: "r1", Verb: "halt"}); err != nil {
			t.Fatal(err)
		}
		r.send(&Known{[]KnownRack{{Rack: "r1", Due: due(log)}}})
		for i := range log {
			if !reading() {
				t.Fatalf("message %d of %d was not followed", i+1, len(log))
			}
			r.send(&Logged{Entries: log[i : i+1]})
		}
		if !reading() {
			t.Error("before it is told what the fleet is to become")
		}
		r.send(&CaughtUp{})
		if reading() {
			t.Error("when all was read")
		}
		if got := given(line); len(got) > 0 {
			t.Errorf("the agent was given %q, which it had answered", got)
		}
	})
}

// TestARackIsSavedNowAndThen: when much is new, when its run has ended, and when it
// is its part's turn.
func TestARackIsSavedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nothingSaved()
		r := coordinator(t, s, nil)
		defer r.stop()
		r.send(&Known{})
		r.send(&CaughtUp{})
		position := uint64(0)
		log := func(events ...rack.Event) {
			position++
			e := LogEntry{Rack: "r1", Position: position, Time: time.Now(), Epoch: 1}
			for _, x := range events {
				x.Rack, x.Seq, x.Time = "r1", uint64(len(r.events["r1"])+1), time.Now()
				e.Events = append(e.Events, messages.FromEvent(x))
				r.mu.Lock()
				r.events["r1"] = append(r.events["r1"], messages.FromEvent(x))
				r.mu.Unlock()
			}
			r.send(&Logged{Entries: []LogEntry{e}})
		}
		times := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if s.mu.Lock(); s.times != want {
				t.Errorf("%s: saved %d times, not %d", when, s.times, want)
			}
			s.mu.Unlock()
		}
		finding := rack.Event{Device: "tor-1", Role: rack.ToRSwitch, Kind: rack.DeviceFinding}
		log(begins)
		for range saveAfter - 2 {
			log(finding)
		}
		times(0, "little is new")
		log(finding)
		times(1, "much is new")
		for p := range uint32(SaveParts) {
			r.send(&SaveSome{p})
		}
		times(1, "nothing is new")
		log(finding)
		for p := range uint32(SaveParts) {
			if r.send(&SaveSome{p}); p != part("r1") {
				continue
			}
			times(2, "it is its turn")
		}
		times(2, "it is the turn of others")
		log(rack.Event{Kind: rack.RackCompleted})
		times(3, "it is completed")
	})
}

// TestARunThatHasEndedIsLetGo once it was saved, and is read when somebody asks, or
// when something comes.
func TestARunThatHasEndedIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		has := func(log []LogEntry, k rack.Kind) bool {
			return slices.ContainsFunc(eventsOf(log), func(m *messages.Event) bool { return m.GetKind() == string(k) })
		}
		log := logOf(t, rand.New(rand.NewPCG(0, 1)))
		for seed := uint64(1); has(log, rack.RackResumed); seed++ {
			log = logOf(t, rand.New(rand.NewPCG(seed, 1)))
		}
		end := 1 + slices.IndexFunc(log, func(e LogEntry) bool {
			return has([]LogEntry{e}, rack.RackCompleted)
		})
		s := nothingSaved()
		r := coordinator(t, s, log[:end])
		defer r.stop()
		r.send(&Known{})
		r.send(&CaughtUp{})
		r.send(&Logged{Entries: log[:end]})
		read := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.read }
		itsTurn := func() {
			for p := range uint32(SaveParts) {
				r.send(&SaveSome{p})
			}
		}
		before, counts := ask[*messages.Rack](r, &GetRack{"r1"}), ask[Counts](r, &GetCounts{})
		itsTurn() // it is saved
		itsTurn() // it is let go
		if n := read(); n != 0 {
			t.Fatalf("its run was read %d times", n)
		}
		if got := ask[Counts](r, &GetCounts{}); !reflect.DeepEqual(got, counts) {
			t.Errorf("without the run it tells %+v, and told %+v", got, counts)
		}
		if got := ask[*messages.Rack](r, &GetRack{"r1"}); !proto.Equal(got, before) || read() != 1 {
			t.Errorf("it tells\n%v, and told\n%v; its run was read %d times", got, before, read())
		}
		itsTurn()
		r.mu.Lock()
		r.events["r1"] = eventsOf(log)
		r.mu.Unlock()
		for i := end; i < len(log); i++ {
			r.send(&Logged{Entries: log[i : i+1]})
		}
		whole := coordinator(t, nothingSaved(), log)
		whole.send(&Known{})
		whole.send(&CaughtUp{})
		whole.send(&Logged{Entries: log})
		want := ask[*messages.Rack](whole, &GetRack{"r1"})
		whole.stop()
		if got := ask[*messages.Rack](r, &GetRack{"r1"}); !proto.Equal(got, want) || read() != 2 {
			t.Errorf("it tells\n%v, not\n%v; its run was read %d times", got, want, read())
		}
	})
}
