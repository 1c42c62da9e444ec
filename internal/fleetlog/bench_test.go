//go:build unix

package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Of the benchmarks: racks that write at once, events of a message, and messages
// of a rack that is followed (2.6 million events in all).
const (
	benchRacks    = 1000
	benchEvents   = 20
	benchMessages = 130
)

func benchName(r int) string { return fmt.Sprintf("rack-%d", r) }

// fill has every rack append n messages from its own goroutine, behind those
// before, and returns how long each took.
func fill(b *testing.B, l *Log, before, n int) (took []time.Duration) {
	b.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for r := range benchRacks {
		wg.Go(func() {
			name := benchName(r)
			for i := range n {
				at := time.Now()
				if _, err := l.Append(context.Background(), name, 1, events(name, 1+benchEvents*(before+i), benchEvents)); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(at))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return took
}

func claimAll(b *testing.B, l *Log) {
	b.Helper()
	var wg sync.WaitGroup
	for r := range benchRacks {
		wg.Go(func() {
			if _, err := l.Claim(context.Background(), benchName(r), "j", Head{}); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

// BenchmarkAppend is 1,000 racks that write at once, 20 events at a time.
func BenchmarkAppend(b *testing.B) {
	for _, at := range []string{"embedded", "cluster"} {
		b.Run(at, func(b *testing.B) {
			o := Options{}
			if at == "cluster" {
				o.URL = newCluster(b).url
			} else {
				o.Dir = b.TempDir()
			}
			l := open(b, o)
			claimAll(b, l)
			b.ResetTimer()
			took := fill(b, l, 0, b.N)
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(len(took)*benchEvents)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(took[len(took)*99/100].Seconds(), "s-p99")
		})
	}
}

// BenchmarkFollow is a coordinator that starts: 2.6 million events of 1,000 racks,
// read again from the first.
func BenchmarkFollow(b *testing.B) {
	dir := b.TempDir()
	l := open(b, Options{Dir: dir})
	claimAll(b, l)
	fill(b, l, 0, benchMessages)
	last, err := l.Last(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		n := 0
		err := l.Follow(ctx, 0, func(entries []Entry) error {
			for _, e := range entries {
				n += len(e.Events)
			}
			if entries[len(entries)-1].Position == last {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || n != benchRacks*benchEvents*benchMessages {
			b.Fatal(n, err)
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/start")
}
