package boot

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// drives lets devices with so many connections each take all they get for a while,
// and returns what each of them got.
func drives(p *pace, connections []int, lasting time.Duration) []int64 {
	got := make([]atomic.Int64, len(connections))
	gone := make(chan struct{})
	var all sync.WaitGroup
	for d, n := range connections {
		for range n {
			all.Go(func() {
				for p.wait(fmt.Sprint("d", d), p.step(), gone) == nil {
					got[d].Add(p.step())
				}
			})
		}
	}
	time.Sleep(lasting)
	close(gone)
	all.Wait()
	out := make([]int64, len(got))
	for d := range got {
		out[d] = got[d].Load()
	}
	return out
}

// The bounds are hard, whatever the number of connections; what is shared is shared
// evenly among devices; and what is there is used.
func TestPace(t *testing.T) {
	const mb = 1_000_000
	for name, x := range map[string]struct {
		Bandwidth
		connections []int
		want        []float64 // MB/s of each device
	}{
		"one device has the whole rack's":   {Bandwidth{Rack: 100 * mb}, []int{1}, []float64{100}},
		"four share it":                     {Bandwidth{Rack: 100 * mb}, []int{1, 1, 1, 1}, []float64{25, 25, 25, 25}},
		"many connections take no more":     {Bandwidth{Rack: 100 * mb}, []int{16, 1, 1, 2}, []float64{25, 25, 25, 25}},
		"a device's own":                    {Bandwidth{Device: 10 * mb}, []int{1, 8}, []float64{10, 10}},
		"the smaller of the two":            {Bandwidth{Rack: 100 * mb, Device: 10 * mb}, []int{1, 4, 1}, []float64{10, 10, 10}},
		"the smaller of the two, when many": {Bandwidth{Rack: 20 * mb, Device: 10 * mb}, []int{1, 4, 1, 1}, []float64{5, 5, 5, 5}},
		"a slow line, in small steps":       {Bandwidth{Rack: 100_000}, []int{2, 1}, []float64{0.05, 0.05}},
		"a fast one, in large steps":        {Bandwidth{Rack: 3125 * mb}, []int{2, 1}, []float64{1562.5, 1562.5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPace(x.Bandwidth)
				const seconds = 20
				got := drives(p, x.connections, seconds*time.Second)
				sum := int64(0)
				slack := func(rate int64) int64 { return p.step() + int64(paceSlack.Seconds()*float64(rate)) }
				for d, n := range got {
					sum += n
					if rate := float64(n) / seconds / mb; rate < x.want[d]*0.95 || rate > x.want[d]*1.05 {
						t.Errorf("d%d: %.3f MB/s, want %.3f", d, rate, x.want[d])
					}
					if p.Device > 0 && n > p.Device*seconds+slack(p.Device) {
						t.Errorf("d%d: %d bytes in %d s", d, n, seconds)
					}
				}
				if p.Rack > 0 && sum > p.Rack*seconds+slack(p.Rack) {
					t.Errorf("the rack: %d bytes in %d s", sum, seconds)
				}
				if len(p.order) != 0 || len(p.queues) != 0 {
					t.Errorf("who left is still waited for: %v", p.order)
				}
			})
		})
	}
}

func TestPaceNone(t *testing.T) {
	p := newPace(Bandwidth{})
	if p != nil || p.wait("d", 1<<40, nil) != nil || p.step() != chunkSize {
		t.Error("a bound where there is none")
	}
}

// Who goes away while it waits takes no turn from others.
func TestPaceGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(Bandwidth{Rack: 1 << 20})
		if err := p.wait("a", p.step(), nil); err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		left := make(chan error)
		go func() { left <- p.wait("a", p.step(), gone) }()
		synctest.Wait()
		close(gone)
		if err := <-left; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		began := time.Now()
		if err := p.wait("b", p.step(), nil); err != nil {
			t.Fatal(err)
		}
		if took, want := time.Since(began), time.Second/paceSteps-paceSlack; took != want {
			t.Errorf("b waited %s, want %s", took, want)
		}
	})
}
