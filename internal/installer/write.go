//go:build linux

package installer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/internal/frames"
)

// ErrAltered says that what came is not what was signed, or that the disk does not
// give back what was written. It is wrapped.
var ErrAltered = errors.New("the image on the disk is not the one of the job")

// writer brings an image from the agent to the disk. Workers take the next frame each:
// fetch it, check it, decode and write it, read it back and check what the disk gave.
// Every byte is digested twice: as it came, before anything is made of it, and as the
// disk gives it back, which proves all that lies between.
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

// pieceBack is what is read back at a time, in bytes. A disk must have enough to do while
// processors are busy: with 1 MiB, an installation took a tenth more (make bench-installer).
const pieceBack = 2 << 20

// decoding is what a decoder keeps, in bytes.
const decoding = 1 << 20

// worker is what a frame takes, in bytes: compressed, raw, what a decoder keeps, and a
// piece that is read back.
func (w *writer) worker() int64 { return w.largest() + w.x.FrameSize + page + decoding + pieceBack }

// workers is how many frames are in flight: what the memory is enough for.
func (w *writer) workers() int {
	return int(max(1, min(w.memory/w.worker(), maxWorkers, int64(len(w.x.Frames)))))
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
// disk has given back all of it, and has been flushed.
func (w *writer) run(ctx context.Context) error {
	// A processor whose goroutine waits for the disk is given to another one only after a
	// while (up to 10 ms), so that there must be more of them than are in the machine, or
	// nobody unpacks while all workers wait: a sixth of the time (make bench-installer).
	workers := w.workers()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + workers))
	group, ctx := errgroup.WithContext(ctx)
	at := w.offsets()
	for range workers {
		group.Go(func() error { return w.work(ctx, at) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return w.t.sync()
}

func (w *writer) work(ctx context.Context, at []int64) error {
	decoder, err := frames.NewDecoder(w.x)
	if err != nil {
		return err
	}
	defer decoder.Close()
	compressed, raw, piece := make([]byte, w.largest()), aligned(int(w.x.FrameSize)+page), aligned(pieceBack)
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
		if err := w.back(i, b, piece); err != nil {
			return err
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
		out, err := decoder.Unpack(i, b, raw[:0])
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

// back reads frame i back from the disk, and holds that it is the one of the index. b is
// what was written; it is not what is read into, so that a disk that gives nothing is
// not taken for one that gives the right bytes.
func (w *writer) back(i int, b, piece []byte) error {
	at := int64(i) * w.x.FrameSize
	to := at + w.x.RawSizeOf(i)
	sum := sha256.New()
	if i == 0 {
		sum.Write(w.first)
		at = int64(len(w.first))
	}
	if err := w.t.forget(at, to-at); err != nil {
		return err
	}
	for at < to {
		n := min(int64(len(piece)), to-at)
		p := piece[:(n+w.t.align-1)/w.t.align*w.t.align]
		if err := w.t.readAligned(p, at); err != nil {
			return err
		}
		sum.Write(p[:n])
		at += n
	}
	if !w.x.IsRaw(i, [sha256.Size]byte(sum.Sum(nil))) {
		return w.blame(i, b)
	}
	w.checked.Add(w.x.RawSizeOf(i))
	return nil
}

// blame says who has altered frame i: the disk, or whoever was before it.
func (w *writer) blame(i int, b []byte) error {
	if w.x.IsRaw(i, sha256.Sum256(b)) {
		return fmt.Errorf("%w: the disk does not give back what was written from byte %d on: replace it", ErrAltered, int64(i)*w.x.FrameSize)
	}
	return fmt.Errorf("%w: frame %d came as it was signed, and unpacks to other bytes than its index says: rackreach bundle verify it; if that finds nothing, the memory of this machine is bad", ErrAltered, i)
}
