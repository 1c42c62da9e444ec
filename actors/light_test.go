package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// lamps notes how lights are switched.
type lamps struct {
	mu    sync.Mutex
	said  []string
	slow  time.Duration
	wrong error
}

func (l *lamps) Light(ctx context.Context, device string, on bool) error {
	select {
	case <-time.After(l.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf("%s %t", device, on))
	return l.wrong
}

func (l *lamps) taken() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out, l.said = l.said, nil
	return out
}

func (w *world) withLamps(l *lamps) *world {
	w.options = func(o *Options) { o.Lamp = l }
	return w
}

// The light of a device that failed shines until its failure is cleared; one that an
// operator lit shines until it is put out.
func TestLights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lamps{}
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 3)).withLamps(l)
		w.breaks["server-01 "+string(rack.BootPXE)], w.breaks["server-02 install"] = 4, forever
		w.start()
		w.until("server-01 fails", w.is("server-01", rack.Failed))
		w.must(rack.Order{Verb: rack.Identify, Device: "server-03", By: "ada"})
		w.refused(rack.Order{Verb: rack.Identify, Device: "tor-1"}, "it has no BMC")
		w.must(rack.Order{Verb: rack.Retry, Device: "server-01", By: "ada"})
		w.ends()
		said := l.taken()
		for _, want := range []string{"server-01 true", "server-01 false", "server-02 true", "server-03 true"} {
			if !slices.Contains(said, want) {
				t.Errorf("the lights were switched as %q, without %s", said, want)
			}
		}
		if len(said) != 4 {
			t.Errorf("the lights were switched as %q", said)
		}
		w.check(w.count(rack.LightOn, "server-01", 1), w.count(rack.LightOff, "server-01", 1), w.count(rack.LightOn, "server-02", 1), w.count(rack.LightOff, "server-03", 0))
		w.proven()

		// What an earlier life lit is lit again, and what was cleared meanwhile goes out.
		if _, err := w.log.Append(rack.Event{Rack: "r1", Device: "server-02", Role: rack.Server, Kind: rack.DeviceRetried, Detail: rack.Detail{By: "ada"}},
			rack.Event{Rack: "r1", Kind: rack.RackResumed, Detail: rack.Detail{By: "ada"}}); err != nil {
			t.Fatal(err)
		}
		w.again()
		w.until("the light of server-02 goes out", func() bool { return len(w.find(rack.LightOff, "server-02")) == 1 })
		time.Sleep(settle)
		said = l.taken()
		if slices.Sort(said); !slices.Equal(said[:2], []string{"server-01 false", "server-02 false"}) || !slices.Contains(said, "server-03 true") {
			t.Errorf("in the second life the lights were switched as %q", said)
		}
		w.finish()
		time.Sleep(settle)
	})
}

// A light of a failure that somebody has put out stays out, whatever becomes of the
// agent, until the device fails anew.
func TestLightThatWasPutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lamps{}
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 2)).withLamps(l)
		w.breaks["server-01 "+string(rack.BootPXE)] = forever
		w.start()
		w.until("server-01 fails", w.is("server-01", rack.Failed))
		w.must(rack.Order{Verb: rack.IdentifyOff, Device: "server-01", By: "ada"})
		time.Sleep(settle)
		l.taken()
		w.again()
		w.ends()
		if said := l.taken(); slices.Contains(said, "server-01 true") {
			t.Errorf("in the second life the lights were switched as %q", said)
		}
		w.check(w.count(rack.LightOn, "server-01", 1), w.count(rack.LightOff, "server-01", 1))
		if _, err := w.log.Append(rack.Event{Rack: "r1", Device: "server-01", Role: rack.Server, Kind: rack.DeviceRetried, Detail: rack.Detail{By: "ada"}},
			rack.Event{Rack: "r1", Kind: rack.RackResumed, Detail: rack.Detail{By: "ada"}}); err != nil {
			t.Fatal(err)
		}
		w.again()
		w.ends()
		w.check(w.count(rack.LightOn, "server-01", 2))
		w.finish()
		time.Sleep(settle)
	})
}

// A switch that halts its rack shows it, though the rack takes no command any more; a
// light that cannot be switched holds up nobody.
func TestLightOfAHaltedRack(t *testing.T) {
	for _, l := range []*lamps{{}, {wrong: errors.New("the BMC refuses")}, {slow: time.Hour}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1)).withLamps(l)
			w.breaks["mgmt-1 "+string(rack.PowerCycle)] = forever
			w.start()
			w.ends()
			w.check(w.count(rack.LightOn, "mgmt-1", 1))
			w.proven()
			before := time.Now()
			w.finish()
			if took := time.Since(before); took > 2*lightGrace {
				t.Errorf("the end of the agent waited %s for a light", took)
			}
			if said := l.taken(); l.slow == 0 && !slices.Equal(said, []string{"mgmt-1 true"}) {
				t.Errorf("the lights were switched as %q", said)
			}
			time.Sleep(settle)
		})
	}
}
