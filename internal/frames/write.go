package frames

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// maxWorkers bounds the frames that are compressed at once, and so the memory:
// two frames for each.
const maxWorkers = 8

// Write compresses what r holds in frames of so many raw bytes; 0: DefaultSize. It
// fails on an image that is empty or too large, and when r or w does.
func Write(ctx context.Context, w io.Writer, r io.Reader, frameSize int64) (Index, error) {
	if frameSize == 0 {
		frameSize = DefaultSize
	}
	if frameSize < MinSize || frameSize > MaxSize {
		return Index{}, fmt.Errorf("frames of %d bytes: give %d to %d", frameSize, MinSize, MaxSize)
	}
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	p := &press{frameSize: frameSize, raw: sha256.New(), jobs: make(chan *job), order: make(chan *job, workers)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(p.jobs)
		defer close(p.order)
		return p.read(ctx, r)
	})
	for range workers {
		g.Go(p.compress)
	}
	x := Index{FrameSize: frameSize}
	g.Go(func() error { return p.write(ctx, w, &x) })
	if err := g.Wait(); err != nil {
		return Index{}, err
	}
	x.RawDigest = algorithm + hex.EncodeToString(p.raw.Sum(nil))
	return x, nil
}

// press compresses an image: one reads, some compress, one writes in order.
type press struct {
	frameSize int64
	raw       hash.Hash // of the whole image; the reader's
	jobs      chan *job // to whoever is free
	order     chan *job // the same ones, in the image's order; its room bounds the memory
}

// job is one frame on its way.
type job struct {
	raw  []byte
	done chan struct{} // closed when the rest is set
	out  []byte
	f    Frame
}

func (p *press) read(ctx context.Context, r io.Reader) error {
	for n := 0; ; n++ {
		raw := make([]byte, p.frameSize)
		got, err := io.ReadFull(r, raw)
		if got > 0 {
			if n == MaxFrames {
				return fmt.Errorf("the image has more than %d bytes: give larger frames", MaxFrames*p.frameSize)
			}
			p.raw.Write(raw[:got])
			j := &job{raw: raw[:got], done: make(chan struct{})}
			for _, to := range []chan *job{p.order, p.jobs} {
				select {
				case to <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if n == 0 && got == 0 {
				return errors.New("the image is empty")
			}
			return nil
		case err != nil:
			return fmt.Errorf("read the image: %w", err)
		}
	}
}

func (p *press) compress() error {
	// One goroutine and a window of a known size, so that the bytes depend on the
	// input only; the size of the content stands in each frame's header.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(MinSize), zstd.WithSingleSegment(true))
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	for j := range p.jobs {
		j.out = enc.EncodeAll(j.raw, nil)
		j.f = Frame{Size: int64(len(j.out)), Digest: digest(j.out), Raw: digest(j.raw)}
		close(j.done)
	}
	return enc.Close()
}

func (p *press) write(ctx context.Context, w io.Writer, x *Index) error {
	for j := range p.order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := w.Write(j.out); err != nil {
			return err
		}
		x.RawSize += int64(len(j.raw))
		x.Frames = append(x.Frames, j.f)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return algorithm + hex.EncodeToString(sum[:])
}
