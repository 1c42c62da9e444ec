//go:build linux

package installer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rackreach/rackreach/internal/job"
)

// source fetches from the agent, over as many connections as it takes: one that breaks
// or gives nothing is replaced, and goes on at the byte where it broke. It is safe for
// concurrent use.
type source struct {
	client   *http.Client
	patience time.Duration // how long no connection may give a byte
	say      func(string)
	last     atomic.Int64 // when one did, Unix nanoseconds
}

func newSource(client *http.Client, patience time.Duration, say func(string)) *source {
	s := &source{client: client, patience: patience, say: say}
	s.last.Store(time.Now().UnixNano())
	return s
}

// newClient is an HTTP client for so many transfers at once, without a bound on the time
// of a whole one.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: maxWorkers, DisableCompression: true, ReadBufferSize: 256 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// statusError is the agent's refusal.
type statusError struct {
	what, words string
	code        int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: the agent answered %d: %s", e.what, e.code, orNone(e.words))
}

// final reports whether another try will not change an error. The agent's own trouble
// (5xx) is worth another one.
func final(err error) bool {
	var s *statusError
	return errors.As(err, &s) && s.code < http.StatusInternalServerError
}

// bytes fetches the bytes of url from at on, as many as into has.
func (s *source) bytes(ctx context.Context, url string, into []byte, at int64) error {
	got := 0
	return s.again(ctx, func(ctx context.Context) (bool, error) {
		n, err := s.once(ctx, url, into[got:], at+int64(got))
		got += n
		if got == len(into) {
			return true, nil
		}
		return n > 0, err
	})
}

// again does something until it succeeds, is refused, or patience is at its end. step
// says whether it came further.
func (s *source) again(ctx context.Context, step func(context.Context) (further bool, err error)) error {
	wait := backoffFirst
	for told := false; ; {
		further, err := step(ctx)
		if err == nil {
			if told {
				s.say("the agent answers again")
			}
			return nil
		}
		if final(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if further {
			wait = backoffFirst
		}
		if silent := time.Since(time.Unix(0, s.last.Load())); silent > s.patience {
			return fmt.Errorf("nothing came from the agent for %s: %w", silent.Round(time.Second), err)
		}
		if !told && wait > backoffFirst {
			told = true
			s.say("the network gives nothing, trying on: " + job.Printable(err.Error(), 200))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, backoffMost)
	}
}

// once fetches over one connection. err is not nil when there are bytes missing.
func (s *source) once(ctx context.Context, url string, into []byte, at int64) (n int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallLimit, func() { cancel(fmt.Errorf("a connection gave nothing for %s", stallLimit)) })
	defer stall.Stop()
	to := at + int64(len(into)) - 1
	a, err := s.do(ctx, http.MethodGet, url, nil, http.StatusPartialContent, "Range", fmt.Sprintf("bytes=%d-%d", at, to))
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer a.Body.Close()
	if got, want := a.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", at, to); !strings.HasPrefix(got, want) {
		return 0, &statusError{"GET " + path(url), fmt.Sprintf("the range %.60q, wanted %s", got, want), a.StatusCode}
	}
	for n < len(into) {
		k, err := a.Body.Read(into[n:])
		n += k
		if k > 0 {
			stall.Reset(stallLimit)
			s.last.Store(time.Now().UnixNano())
		}
		if err != nil && n < len(into) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, cause(ctx, err)
		}
	}
	return n, nil
}

// cause is why a context ended, where that is what made err.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// do sends one request. The caller closes the body of the answer.
func (s *source) do(ctx context.Context, method, url string, body io.Reader, want int, header ...string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	a, err := s.client.Do(q)
	if err != nil {
		return nil, err
	}
	if a.StatusCode != want {
		words, err := io.ReadAll(io.LimitReader(a.Body, 200))
		_ = a.Body.Close()
		if err != nil {
			return nil, err
		}
		return nil, &statusError{method + " " + path(url), job.Printable(string(words), 200), a.StatusCode}
	}
	return a, nil
}

// path is a URL without what nobody should read on a console: its token.
func path(url string) string {
	i := strings.LastIndexByte(url, '/')
	return url[:max(i, 0)]
}

// small fetches all of a small answer.
func (s *source) small(ctx context.Context, url string, most int64) (b []byte, err error) {
	err = s.again(ctx, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, stallLimit)
		defer cancel()
		a, err := s.do(ctx, http.MethodGet, url, nil, http.StatusOK)
		if err != nil {
			return false, err
		}
		defer a.Body.Close()
		if b, err = io.ReadAll(io.LimitReader(a.Body, most+1)); err != nil {
			return false, err
		}
		s.last.Store(time.Now().UnixNano())
		if int64(len(b)) > most {
			return false, &statusError{"GET " + path(url), fmt.Sprintf("more than %d bytes", most), a.StatusCode}
		}
		return true, nil
	})
	return b, err
}

// post sends a message; once.
func (s *source) post(ctx context.Context, url string, v any) error {
	b, err := job.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	a, err := s.do(ctx, http.MethodPost, url, strings.NewReader(string(b)), http.StatusNoContent, "Content-Type", "application/json")
	if err != nil {
		return err
	}
	s.last.Store(time.Now().UnixNano())
	return a.Body.Close()
}
