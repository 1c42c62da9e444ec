package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/blob"
)

// Bounds of asking a server.
const (
	// webSlice is what is asked for at once, in bytes: small enough for a server to
	// share its places out among many, large enough for the asking not to matter.
	webSlice = 64 << 20
	// webStall is how long a server may send nothing before it counts as gone.
	webStall = time.Minute
	// webAnswer bounds the time for an answer to begin: a depot lets agents queue.
	webAnswer = 10 * time.Minute
	// webBusy bounds the pause that a busy server asks for.
	webBusy = time.Minute
)

// OpenWeb opens a layout that a server hands out file by file: a coordinator's depot,
// or any web server with the directory of a bundle. client trusts whom it should.
func OpenWeb(ctx context.Context, base string, client *http.Client) (Place, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%.*q is no URL of a bundle: write https://HOST/PATH", maxShown, base)
	}
	w := &web{base: strings.TrimRight(base, "/") + "/", client: client}
	w.reader = reader{name: base, file: w.get, fetch: w.part, close: func() error { client.CloseIdleConnections(); return nil }}
	if err := w.check(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// web is a layout on a server.
type web struct {
	reader
	base   string
	client *http.Client
}

// get reads a small file.
func (w *web) get(ctx context.Context, name string) ([]byte, error) {
	body, err := w.ask(ctx, name, 0, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	return b, errors.Join(err, body.Close())
}

// part fetches the next part of a blob.
func (w *web) part(ctx context.Context, d blob.Digest, size, from int64) (io.ReadCloser, error) {
	if _, err := blob.ParseDigest(string(d)); err != nil {
		return nil, &blob.Final{Err: err}
	}
	body, err := w.ask(ctx, blobPath(d), from, min(size, from+webSlice))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &blob.Final{Err: fmt.Errorf("%s: %s: %w", w.name, d, blob.ErrNone)}
	}
	return body, err
}

// ask asks for a file from one byte to another; to 0: for all of it. While the server
// is busy it waits as it is told.
func (w *web) ask(ctx context.Context, name string, from, to int64) (io.ReadCloser, error) {
	for {
		body, again, err := w.askOnce(ctx, name, from, to)
		if again == 0 {
			return body, err
		}
		if err := pause(ctx, again); err != nil {
			return nil, err
		}
	}
}

func (w *web) askOnce(ctx context.Context, name string, from, to int64) (_ io.ReadCloser, again time.Duration, err error) {
	ctx, body := newStalling(ctx)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+name, nil)
	if err != nil {
		return nil, 0, errors.Join(&blob.Final{Err: err}, body.Close())
	}
	if to > 0 {
		q.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1)) // RFC 9110 section 14.2
	}
	a, err := w.client.Do(q)
	if err != nil {
		return nil, 0, errors.Join(body.cause(err), body.Close())
	}
	body.ReadCloser = a.Body
	if again, err = w.judge(a, from); err != nil {
		return nil, again, errors.Join(err, body.Close())
	}
	return body, 0, nil
}

// judge says whether an answer is what was asked for; again is how long to wait
// before asking again, 0: not at all.
func (w *web) judge(a *http.Response, from int64) (again time.Duration, err error) {
	switch a.StatusCode {
	case http.StatusPartialContent:
		if !strings.HasPrefix(a.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
			return 0, &blob.Final{Err: fmt.Errorf("%s sends another part than was asked for", w.name)}
		}
		return 0, nil
	case http.StatusOK:
		if from > 0 {
			return 0, blob.ErrNoRange
		}
		return 0, nil
	case http.StatusNotFound, http.StatusGone:
		return 0, &notThere{w.text(a)}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		n, err := strconv.Atoi(a.Header.Get("Retry-After")) // RFC 9110 section 10.2.3
		if err == nil && n > 0 {
			return min(time.Duration(n)*time.Second, webBusy), fmt.Errorf("%s is busy", w.name)
		}
		return 0, &unwell{fmt.Errorf("%s is busy", w.name)}
	}
	err = fmt.Errorf("%s answers %d: %s", w.name, a.StatusCode, w.text(a))
	switch {
	case a.StatusCode >= 500:
		err = &unwell{err}
	case a.StatusCode >= 400:
		err = &blob.Final{Err: err}
	}
	return 0, err
}

// unwell is an answer of a server that may have a better one the next time.
type unwell struct{ error }

// Unwrap is what it says.
func (u *unwell) Unwrap() error { return u.error }

// Away reports whether a place could not be asked: it may be reached the next time, and
// nobody need mend what was asked for.
func Away(err error) bool {
	var none *url.Error // no answer came
	var bad *unwell
	var final *blob.Final
	return errors.As(err, &bad) || errors.As(err, &none) && !errors.As(err, &final)
}

// text is what a server says besides its status, bounded and printable.
func (w *web) text(a *http.Response) string {
	b, _ := io.ReadAll(io.LimitReader(a.Body, 4*maxShown)) // what there is of it
	return cut(strings.TrimSpace(string(b)))
}

// notThere says that a server has no such file, in its words.
type notThere struct{ text string }

func (n *notThere) Error() string { return "it has no such file, it says " + n.text }

// Is makes it an fs.ErrNotExist.
func (n *notThere) Is(err error) bool { return err == fs.ErrNotExist }

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stalling is a body that must get further.
type stalling struct {
	io.ReadCloser
	timer  *time.Timer
	silent error // what the context of its question ends with when it does not
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// newStalling is the body of a question, which must be answered in time.
func newStalling(ctx context.Context) (context.Context, *stalling) {
	s := &stalling{silent: &unwell{errors.New("it sends nothing: look whether it still works, and the way to it")}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.timer = time.AfterFunc(webAnswer, func() { s.cancel(s.silent) })
	return s.ctx, s
}

// cause is why a question failed: that nothing comes is no word of whoever asked.
func (s *stalling) cause(err error) error {
	if err != nil && context.Cause(s.ctx) == s.silent {
		return s.silent
	}
	return err
}

// Read implements io.Reader.
func (s *stalling) Read(p []byte) (int, error) {
	s.timer.Reset(webStall)
	n, err := s.ReadCloser.Read(p)
	return n, s.cause(err)
}

// Close implements io.Closer.
func (s *stalling) Close() error {
	s.timer.Stop()
	s.cancel(nil)
	if s.ReadCloser == nil {
		return nil
	}
	return s.ReadCloser.Close()
}
