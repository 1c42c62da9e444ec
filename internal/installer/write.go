//go:build linux

package installer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/internal/frames"
)

// ErrAltered says that what came is not what was signed, or that the disk does not
// give back what was written. It is wrapped.
var ErrAltered = errors.New("the image on the disk is not the one of the job")

// writer brings an image from the agent to the disk. Workers take the next frame
// each, fetch, check, decode and write it; one goroutine reads back behind them, in
// order, and makes the digest of the whole.
type writer struct {
	t      *target
	x      frames.Index
	src    *source
	url    string
	memory int64 // bytes

	next    atomic.Int64 // frame
	written atomic.Int64 // raw bytes
	checked atomic.Int64 // raw bytes
	first   []byte       // the first bytes of the image, which are written last
}

// worker is what a frame takes, in bytes: compressed, raw, and what a decoder keeps.
func (w *writer) worker() int64 { return w.largest() + w.x.FrameSize + page + 1<<20 }

// workers is how many frames are in flight: what the memory is enough for, with those
// that are read back.
func (w *writer) workers() int {
	n := (w.memory - backBuffers*w.x.FrameSize) / w.worker()
	return int(max(1, min(n, maxWorkers, int64(len(w.x.Frames)))))
}

// largest is the most bytes of a compressed frame.
func (w *writer) largest() (n int64) {
	for _, f := range w.x.Frames {
		n = max(n, f.Size)
	}
	return n
}

// offsets are where the compressed frames begin.
func (w *writer) offsets() []int64 {
	at := make([]int64, len(w.x.Frames))
	for i := 1; i < len(at); i++ {
		at[i] = at[i-1] + w.x.Frames[i-1].Size
	}
	return at
}

// run writes all but the first bytes, which it keeps in w.first, and returns when the
// disk has given back all of it.
func (w *writer) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	done := make(chan int, 64)
	at := w.offsets()
	for range w.workers() {
		group.Go(func() error { return w.work(ctx, at, done) })
	}
	group.Go(func() error { return w.check(ctx, done) })
	if err := group.Wait(); err != nil {
		return err
	}
	return w.t.sync()
}

func (w *writer) work(ctx context.Context, at []int64, done chan<- int) error {
	decoder, err := frames.NewDecoder(w.x)
	if err != nil {
		return err
	}
	defer decoder.Close()
	compressed, raw := make([]byte, w.largest()), aligned(int(w.x.FrameSize)+page)
	for {
		i := int(w.next.Add(1) - 1)
		if i >= len(w.x.Frames) {
			return nil
		}
		b, err := w.frame(ctx, decoder, i, at[i], compressed, raw)
		if err != nil {
			return err
		}
		if err := w.put(i, b); err != nil {
			return err
		}
		select {
		case done <- i:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// frame fetches frame i and decodes it into raw. One that came damaged is fetched
// again: it may have been damaged on the way.
func (w *writer) frame(ctx context.Context, decoder *frames.Decoder, i int, at int64, compressed, raw []byte) ([]byte, error) {
	for try := 0; ; try++ {
		b := compressed[:w.x.Frames[i].Size]
		if err := w.src.bytes(ctx, w.url, b, at); err != nil {
			return nil, fmt.Errorf("fetch frame %d of %d: %w", i, len(w.x.Frames), err)
		}
		out, err := decoder.Decode(i, b, raw[:0])
		switch {
		case err == nil && &out[0] == &raw[0]:
			return out, nil
		case err == nil:
			return raw[:copy(raw, out)], nil
		case try == fetchAgain:
			return nil, fmt.Errorf("%w: fetched %d times: %w: the bundle on the agent is damaged: rackreach bundle verify it", ErrAltered, try+1, err)
		}
		w.src.say(fmt.Sprintf("frame %d came damaged, fetching it again", i))
	}
}

// put writes a frame, without the first bytes of the image. b is a part of a buffer
// that has room for a page more.
func (w *writer) put(i int, b []byte) error {
	at, n := int64(i)*w.x.FrameSize, int64(len(b))
	if i == 0 {
		w.first = bytes.Clone(b[:min(head, len(b))])
		b, at = b[len(w.first):], int64(len(w.first))
	}
	if over := int64(len(b)) % w.t.align; over != 0 {
		whole := int64(len(b)) + w.t.align - over
		clear(b[len(b):whole])
		b = b[:whole]
	}
	if len(b) > 0 {
		if err := w.t.writeAligned(b, at); err != nil {
			return err
		}
	}
	w.written.Add(n)
	return nil
}

// backBuffers is how many frames are read back ahead of the one that is hashed.
const backBuffers = 2

// check reads back, in the order of the image, the frames that are written, and makes
// the digest of the whole meanwhile.
func (w *writer) check(ctx context.Context, done <-chan int) error {
	free, full := make(chan []byte, backBuffers), make(chan []byte, backBuffers)
	for range backBuffers {
		free <- aligned(int(w.x.FrameSize) + page)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(full)
		return w.readBack(ctx, done, free, full)
	})
	whole := sha256.New()
	group.Go(func() error {
		n := 0
		for b := range full {
			if n == 0 {
				whole.Write(w.first)
			}
			whole.Write(b)
			w.checked.Add(w.x.RawSizeOf(n))
			n++
			free <- b[:0] // there is room for all
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(whole.Sum(nil)); got != w.x.RawDigest {
		return w.blame()
	}
	return nil
}

// readBack reads frames into free buffers as soon as they are written, in order.
func (w *writer) readBack(ctx context.Context, done <-chan int, free <-chan []byte, full chan<- []byte) error {
	there := make([]bool, len(w.x.Frames))
	for next := 0; next < len(there); {
		select {
		case i := <-done:
			there[i] = true
		case <-ctx.Done():
			return ctx.Err()
		}
		for ; next < len(there) && there[next]; next++ {
			b, err := w.back(next, (<-free)[:w.x.FrameSize])
			if err != nil {
				return err
			}
			full <- b // there is room for all
		}
	}
	return nil
}

// back reads frame i from the disk, without the first bytes of the image.
func (w *writer) back(i int, buffer []byte) ([]byte, error) {
	at, n := int64(i)*w.x.FrameSize, w.x.RawSizeOf(i)
	if i == 0 {
		at = int64(len(w.first))
		n -= at
	}
	b := buffer[:(n+w.t.align-1)/w.t.align*w.t.align]
	if len(b) == 0 {
		return b, nil
	}
	if err := errors.Join(w.t.forget(at, n), w.t.readAligned(b, at)); err != nil {
		return nil, err
	}
	return b[:n], nil
}

// blame finds the first frame that the disk gives back differently.
func (w *writer) blame() error {
	buffer := aligned(int(w.x.FrameSize) + page)
	for i, f := range w.x.Frames {
		b, err := w.back(i, buffer)
		if err != nil {
			return err
		}
		h := sha256.New()
		if i == 0 {
			h.Write(w.first)
		}
		h.Write(b)
		if "sha256:"+hex.EncodeToString(h.Sum(nil)) != f.Raw {
			return fmt.Errorf("%w: the disk does not give back what was written from byte %d on: replace it", ErrAltered, int64(i)*w.x.FrameSize)
		}
	}
	return fmt.Errorf("%w: every frame is the one of the index, and the image has another digest: the bundle is wrong: build it again", ErrAltered)
}
