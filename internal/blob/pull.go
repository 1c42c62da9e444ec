package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/rackreach/rackreach/internal/durable"
)

// Source is where blobs come from. Fetch gives a blob from a byte on, or a part of
// it: who wants more asks again. Whoever calls closes it. It returns ErrNoRange when
// from is not 0 and it cannot. What it sends is checked: it may lie.
type Source interface {
	Fetch(ctx context.Context, d Digest, size, from int64) (io.ReadCloser, error)
}

// Final is an error of a Source after which it is useless to ask again.
type Final struct{ Err error }

func (e *Final) Error() string { return e.Err.Error() }

// Unwrap gives the error.
func (e *Final) Unwrap() error { return e.Err }

// Bounds of a pull.
const (
	maxAttempts = 6                // without a byte more, before it gives up
	firstPause  = time.Second      // before the second attempt; twice as long before each further one
	longPause   = 15 * time.Second // at most
	copyBuffer  = 256 << 10        // bytes
	syncEvery   = 64 << 20         // bytes that a power cut may take of a beginning
)

// flight is a pull that others wait for.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
}

// Pull makes sure that a blob is here, and fetches it from src if it is not. Who
// asks for one that somebody else is pulling waits for that one; when that one is
// told to stop, the next goes on. Errors: ErrMismatch, wrapped; *Full; one of src;
// that of ctx.
func (s *Store) Pull(ctx context.Context, d Digest, size int64, src Source) error {
	if _, err := ParseDigest(string(d)); err != nil {
		return err
	}
	for {
		f, mine, err := s.board(d, size)
		if err != nil || f == nil {
			return err
		}
		if mine {
			f.err = s.pull(ctx, d, size, src)
			s.mu.Lock()
			delete(s.flights, d)
			s.mu.Unlock()
			close(f.done)
			return f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if f.err != nil && !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.err
		}
	}
}

// board joins the pull of a blob, or begins it; nil: it is here.
func (s *Store) board(d Digest, size int64) (f *flight, mine bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.held[d]; ok {
		if e.size != size {
			return nil, false, fmt.Errorf("%s has %d bytes, not %d: %w", d, e.size, size, ErrMismatch)
		}
		s.clock++
		e.used = s.clock
		return nil, false, nil
	}
	if f, ok := s.flights[d]; ok {
		return f, false, nil
	}
	f = &flight{done: make(chan struct{})}
	s.flights[d] = f
	return f, true, nil
}

// pull fetches a blob; nobody else does.
func (s *Store) pull(ctx context.Context, d Digest, size int64, src Source) (err error) {
	p := &partial{s: s, d: d, size: size}
	if err := p.open(); err != nil {
		return s.full(fmt.Errorf("pull %s: %w", d.Short(), err), size)
	}
	defer func() {
		if e := p.close(); e != nil {
			err = errors.Join(err, fmt.Errorf("pull %s: %w", d.Short(), e))
		}
	}()
	if err := s.reserve(size, size-p.at); err != nil {
		return err
	}
	defer func() { s.release(size, size-p.at) }()
	resumed := p.at > 0
	for {
		if err := p.fill(ctx, src); err != nil {
			return err
		}
		err := p.commit()
		if !errors.Is(err, ErrMismatch) || !resumed {
			return err
		}
		// The beginning was from an earlier life: a power cut may have damaged it.
		resumed = false
		if err := p.reset(); err != nil {
			return err
		}
	}
}

// partial is a blob on its way to disk.
type partial struct {
	s      *Store
	d      Digest
	size   int64
	f      *os.File
	sum    hash.Hash
	at     int64 // bytes that are in the file and in sum
	whole  bool  // it was published
	spoilt bool  // it is of no use to a later pull
}

// open opens the beginning that is there, and learns what it holds.
func (p *partial) open() (err error) {
	p.sum = sha256.New()
	p.s.mu.Lock()
	p.s.total -= p.s.begun[p.d]
	delete(p.s.begun, p.d)
	p.s.mu.Unlock()
	if p.f, err = os.OpenFile(p.s.beginning(p.d), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.f.Close())
		}
	}()
	n, err := io.CopyBuffer(struct{ io.Writer }{p.sum}, io.LimitReader(p.f, p.size+1), make([]byte, copyBuffer))
	if err == nil && n > p.size {
		p.sum.Reset()
		if err = p.f.Truncate(0); err == nil {
			_, err = p.f.Seek(0, io.SeekStart)
		}
		return err
	}
	p.at = n
	return err
}

// reset begins anew.
func (p *partial) reset() error {
	p.s.owe(p.at)
	p.sum.Reset()
	p.at, p.spoilt = 0, false
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// fill fetches what is missing, as often as it gets further.
func (p *partial) fill(ctx context.Context, src Source) error {
	pause, left := firstPause, maxAttempts
	for {
		before := p.at
		err := p.fetch(ctx, src)
		var final *Final
		switch {
		case err == nil && p.at == p.size:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && p.at > before: // it sends in parts
			pause, left = firstPause, maxAttempts
			continue
		case errors.As(err, &final), p.spoilt:
			return err
		case err == nil:
			err = fmt.Errorf("%s ended after %d of %d bytes: %w", p.d.Short(), p.at, p.size, io.ErrUnexpectedEOF)
		}
		if left--; p.at > before {
			pause, left = firstPause, maxAttempts
		}
		if left == 0 {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longPause)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch asks the source once for what is missing.
func (p *partial) fetch(ctx context.Context, src Source) (err error) {
	if p.at == p.size {
		return nil
	}
	body, err := src.Fetch(ctx, p.d, p.size, p.at)
	if errors.Is(err, ErrNoRange) && p.at > 0 {
		if err := p.reset(); err != nil {
			return err
		}
		body, err = src.Fetch(ctx, p.d, p.size, 0)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	buffer := make([]byte, copyBuffer)
	for synced := p.at; p.at < p.size; {
		n, err := body.Read(buffer[:min(int64(len(buffer)), p.size-p.at)])
		if n > 0 {
			if _, err := p.f.Write(buffer[:n]); err != nil {
				p.spoilt = true
				return p.s.full(err, p.size-p.at)
			}
			p.sum.Write(buffer[:n])
			p.at += int64(n)
			p.s.owe(-int64(n))
		}
		if p.at-synced >= syncEvery {
			if err := p.f.Sync(); err != nil {
				p.spoilt = true
				return p.s.full(err, p.size-p.at)
			}
			synced = p.at
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// commit makes the blob visible, if it is what it should be.
func (p *partial) commit() error {
	if got := sumOf(p.sum); got != p.d {
		p.spoilt = true
		return fmt.Errorf("what was sent for %s has the digest %s: %w", p.d, got, ErrMismatch)
	}
	if err := p.f.Sync(); err != nil {
		p.spoilt = true
		return p.s.full(err, p.size)
	}
	if err := p.s.publish(p.f.Name(), p.d, p.size); err != nil {
		return p.s.full(err, p.size)
	}
	p.whole = true
	return durable.SyncDir(p.s.ingest())
}

// close leaves the beginning for a later pull, unless it is of no use.
func (p *partial) close() error {
	if p.f == nil {
		return nil
	}
	err := p.f.Close()
	switch {
	case p.whole:
		return err
	case p.spoilt || p.at == 0:
		return errors.Join(err, os.Remove(p.s.beginning(p.d)))
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.begun[p.d] = p.at
	p.s.total += p.at
	return err
}
