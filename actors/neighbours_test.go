package actors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// heardIn lists what was journalled of neighbours, in order, in words.
func heardIn(w *world) []string {
	var out []string
	for _, e := range logged(w.t, w, rack.NeighbourSeen) {
		o := e.Detail.Seen
		if e.Device != o.Via.Device || e.Role == "" || o.Device != e.Device || o.Source != rack.FromLLDP {
			w.t.Errorf("%+v %+v", e, o)
		}
		out = append(out, o.Via.String()+"<"+o.Message)
	}
	return out
}

func (w *world) hear(port, far string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, err := rack.ParsePort(port)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hears[p] = far
}

// TestNeighbours: every change of a neighbour is journalled, once, also after the
// run has ended, and nothing else is done then.
func TestNeighbours(t *testing.T) {
	want := func(t *testing.T, w *world, more ...string) {
		t.Helper()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := heardIn(w); !slices.Equal(got, more) {
			t.Errorf("journalled %q, want %q", got, more)
		}
	}
	play(t, testRack("r2", 2, 1, 1), func(w *world) {
		w.hear("tor-1:53", "r2/tor-2:53")
		w.hear("tor-1:49", "r2/inter-rack-1:1")
	}, func(t *testing.T, w *world) {
		if err := w.completed(); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		jobs := len(w.jobs)
		w.mu.Unlock()
		known := []string{"tor-1:49<r2/inter-rack-1:1", "tor-1:53<r2/tor-2:53"}
		want(t, w, known...)
		w.hear("inter-rack-1:7", "r1/tor-1:49")
		known = append(known, "inter-rack-1:7<r1/tor-1:49")
		want(t, w, known...)
		w.hear("inter-rack-1:7", "r1/tor-2:49") // another cable
		w.hear("tor-1:53", "")                  // pulled
		known = append(known, "tor-1:53<", "inter-rack-1:7<r1/tor-2:49")
		time.Sleep(time.Minute)
		slices.Sort(known[3:])
		got := heardIn(w)
		slices.Sort(got[min(3, len(got)):])
		if !slices.Equal(got, known) {
			t.Errorf("journalled %q, want %q", got, known)
		}
		w.mu.Lock()
		w.mute["inter-rack-1"] = true // it does not answer: nothing is known, nothing is journalled
		w.mu.Unlock()
		known = heardIn(w)
		want(t, w, known...)
		w.mu.Lock()
		w.mute["inter-rack-1"] = false
		w.mu.Unlock()
		w.hear("inter-rack-1:7", "r1/tor-1:49") // the first one again
		known = append(known, "inter-rack-1:7<r1/tor-1:49")
		want(t, w, known...)
		time.Sleep(time.Hour)
		want(t, w, known...)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.jobs) != jobs || w.asked["server-01"] > 0 || w.asked["mgmt-1"] == 0 {
			t.Errorf("after the run it did %v and asked %v", w.jobs[jobs:], w.asked)
		}
		if hour := 3600 / 10; w.asked["tor-1"] < hour || w.asked["tor-1"] > 3*hour {
			t.Errorf("tor-1 was asked %d times", w.asked["tor-1"])
		}
	})
}

// TestNeighboursOfAHaltedRack: switches that are ready are asked while the rack
// drains, and when it has halted; a later life goes on with that, and journals
// nothing that is known.
func TestNeighboursOfAHaltedRack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r2", 2, 0, 1))
		w.breaks["tor-1 configuration"] = forever
		w.hear("tor-2:49", "r9/inter-rack-1:1")
		w.start()
		w.outlast()
		time.Sleep(time.Hour)
		if err := w.halted("tor-1", ""); err != nil {
			t.Error(err)
		}
		if got := heardIn(w); !slices.Equal(got, []string{"tor-2:49<r9/inter-rack-1:1"}) || w.asked["tor-1"] > 0 {
			t.Errorf("journalled %q, asked %v", got, w.asked)
		}
		if err := w.system.Root.StopFuture(w.pid).Wait(); err != nil {
			t.Error(err)
		}
		w.start()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		w.hear("tor-2:49", "")
		time.Sleep(time.Minute)
		if got := heardIn(w); !slices.Equal(got, []string{"tor-2:49<r9/inter-rack-1:1", "tor-2:49<"}) {
			t.Errorf("after another start: %q", got)
		}
		w.finish()
		time.Sleep(settle)
		w.proven()
	})
}

// A switch that names ever new ports does not fill the journal.
func TestNeighboursAreBounded(t *testing.T) {
	play(t, testRack("r2", 1, 0, 1), nil, func(t *testing.T, w *world) {
		for round := range 3 {
			w.mu.Lock()
			clear(w.hears)
			for n := range maxPorts {
				w.hears[rack.Port{Device: "tor-1", Name: fmt.Sprintf("%d-%d", round, n)}] = "r1/" + strings.Repeat("x", 10)
			}
			w.mu.Unlock()
			time.Sleep(time.Minute)
		}
		if n := len(heardIn(w)); n != 2*maxPorts { // they came, and went
			t.Errorf("%d events", n)
		}
	})
}

// What was journalled and has not come back yet is known all the same.
func TestNeighboursThatAreNotAppliedYet(t *testing.T) {
	w := &world{t: t, rack: testRack("r2", 1, 0, 1), log: journal.NewMemory()}
	a := NewAgent(Options{Log: w.log, Rack: w.rack, Platforms: platform.All()})
	a.run.Apply(rack.Event{Kind: rack.DeviceReady, Device: "tor-1"})
	p := rack.Port{Device: "tor-1", Name: "49"}
	hears := func(far string) *heard {
		return &heard{"tor-1", []rack.Observation{{Source: rack.FromLLDP, Via: p, Message: far}}}
	}
	a.hear(hears("r1/a:1"))
	a.hear(hears("r1/a:1"))
	a.hear(&heard{device: "tor-1"})
	a.hear(hears("r1/b:1"))
	a.hear(hears("r1/b:1"))
	if got, want := heardIn(w), []string{"tor-1:49<r1/a:1", "tor-1:49<", "tor-1:49<r1/b:1"}; !slices.Equal(got, want) {
		t.Errorf("journalled %q, want %q", got, want)
	}
	for _, e := range logged(t, w, rack.NeighbourSeen) {
		a.run.Apply(e)
		a.listened(e)
	}
	if len(a.listening) != 0 || a.run.Neighbour(p) != "r1/b:1" {
		t.Errorf("%v is remembered, and the run knows %q", a.listening, a.run.Neighbour(p))
	}
}
