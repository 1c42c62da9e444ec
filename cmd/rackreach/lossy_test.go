//go:build netns

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lossy is a bad cable: what it does to a frame is drawn by its seed.
type lossy struct {
	seed                uint64
	loss, double, delay float64 // the share of frames that is lost, comes twice, comes behind the next
}

// heldAtMost is how long a delayed frame waits for one that overtakes it.
const heldAtMost = 40 * time.Millisecond

// done counts what a cable did to frames.
type done struct{ passed, lost, doubled, delayed, stuck atomic.Int64 }

func (d *done) String() string {
	return fmt.Sprintf("%d frames passed, %d lost, %d doubled, %d overtaken, %d did not get in", d.passed.Load(), d.lost.Load(), d.doubled.Load(), d.delayed.Load(), d.stuck.Load())
}

// badCable joins the bridges of two hosts; the end of the test pulls it.
func (w *world) badCable(l lossy, inA, bridgeA, inB, bridgeB string) *done {
	w.t.Helper()
	a, b := w.tap(inA, "bad", bridgeA), w.tap(inB, "bad", bridgeB)
	d := &done{}
	var ends sync.WaitGroup
	ends.Go(func() { l.carry(a, b, rand.New(rand.NewPCG(l.seed, 1)), d) })
	ends.Go(func() { l.carry(b, a, rand.New(rand.NewPCG(l.seed, 2)), d) })
	w.t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
		ends.Wait()
		w.t.Logf("seed %d: %s", l.seed, d)
	})
	return d
}

// carry carries frames one way until an end is closed.
func (l lossy) carry(from, to *os.File, r *rand.Rand, d *done) {
	frames := make(chan []byte)
	go func() {
		defer close(frames)
		for {
			b := make([]byte, 1<<16)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			frames <- b[:n]
		}
	}()
	send := func(b []byte) {
		if _, err := to.Write(b); err != nil {
			d.stuck.Add(1) // as it was at the other end when it was pulled
		}
	}
	var held []byte
	late := time.NewTimer(time.Hour)
	defer late.Stop()
	for {
		select {
		case b, ok := <-frames:
			if !ok {
				return
			}
			switch x := r.Float64(); {
			case x < l.loss:
				d.lost.Add(1)
				continue
			case x < l.loss+l.double:
				d.doubled.Add(1)
				send(b)
			case x < l.loss+l.double+l.delay && held == nil:
				d.delayed.Add(1)
				held = b
				late.Reset(heldAtMost)
				continue
			}
			d.passed.Add(1)
			send(b)
			if held != nil {
				send(held)
				held = nil
			}
		case <-late.C:
			if held != nil {
				send(held)
				held = nil
			}
		}
	}
}

// tap makes a tap device in a namespace, on a bridge that is there, and returns the
// end of its cable.
func (w *world) tap(in, name, bridge string) *os.File {
	w.t.Helper()
	var fd int
	err := entered(in, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	})
	if err != nil {
		w.t.Fatalf("make tap %s in %s: %v", name, in, err)
	}
	w.ip("-n", in, "link", "set", name, "master", bridge, "up")
	return os.NewFile(uintptr(fd), name)
}

// The cable itself, on two pipes: what it is told to do, it does, and nothing else.
func TestLossyCable(t *testing.T) {
	const n = 4000
	l := lossy{seed: 5, loss: 0.2, double: 0.1, delay: 0.1}
	in, from, err1 := os.Pipe()
	to, out, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	d := &done{}
	var ends sync.WaitGroup
	ends.Go(func() { l.carry(in, out, rand.New(rand.NewPCG(l.seed, 1)), d); out.Close() })
	seen := map[byte]int{}
	ends.Go(func() {
		b := make([]byte, 1)
		for {
			if k, err := to.Read(b); k == 0 || err != nil {
				return
			}
			seen[b[0]]++
		}
	})
	for i := range n {
		if _, err := from.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		for d.passed.Load()+d.lost.Load()+d.delayed.Load() <= int64(i) {
			runtime.Gosched() // a pipe joins what is written at once
		}
	}
	from.Close()
	ends.Wait()
	t.Log(d)
	for name, x := range map[string]struct {
		got  int64
		want float64
	}{"lost": {d.lost.Load(), l.loss}, "doubled": {d.doubled.Load(), l.double}, "overtaken": {d.delayed.Load(), l.delay}} {
		if share := float64(x.got) / n; share < x.want/2 || share > x.want*2 {
			t.Errorf("%s: a share of %.3f, want about %.3f", name, share, x.want)
		}
	}
	sum := 0
	for _, k := range seen {
		sum += k
	}
	if want := n - d.lost.Load() + d.doubled.Load(); int64(sum) != want {
		t.Errorf("%d frames came out, want %d", sum, want)
	}
}
