package bundle

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/depot"
)

// site serves a handler and gives a client of it.
func site(t *testing.T, h http.Handler) (url string, client *http.Client) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL, s.Client()
}

// A release comes from a depot, and from any web server that hands out files.
func TestPullFromTheWeb(t *testing.T) {
	l := newLayout(t)
	trust := signed(t, l, release(t, l, "2026.3"))
	for name, h := range map[string]http.Handler{
		"depot":      depot.New(depot.Options{Dir: l.dir, Who: func(*http.Request) string { return "r1" }}),
		"web server": http.FileServer(http.Dir(l.dir)),
	} {
		url, client := site(t, h)
		p, err := OpenWeb(t.Context(), url, client)
		if err != nil {
			t.Fatal(name, err)
		}
		b, err := Find(t.Context(), p, "")
		if err != nil {
			t.Fatal(name, err)
		}
		whole(t, b, trust)
		for _, to := range []string{filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "x.tar")} {
			if err := PullTo(t.Context(), b, to); err != nil {
				t.Fatal(name, err)
			}
			whole(t, find(t, to, "2026.3"), trust)
			if left, err := filepath.Glob(to + ".*"); err != nil || len(left) > 0 {
				t.Errorf("%s: left over %v %v", name, left, err)
			}
		}
	}
}

// A line that is cut: the pull goes on with what is missing.
func TestPullOverABadLine(t *testing.T) {
	l := newLayout(t)
	trust := signed(t, l, release(t, l, "1"))
	files := http.FileServer(http.Dir(l.dir))
	var mu sync.Mutex
	var asked []string
	cut := true
	url, client := site(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		a, _ := find(t, l.dir, "").Artifact("debian-13")
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(q.URL.Path, a.Digest.Hex()) {
			asked = append(asked, q.Header.Get("Range"))
			if cut {
				cut = false
				files.ServeHTTP(&short{w, 1000}, q)
				panic(http.ErrAbortHandler)
			}
		}
		files.ServeHTTP(w, q)
	}))
	p, err := OpenWeb(t.Context(), url, client)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Find(t.Context(), p, "1")
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "d")
	if err := PullTo(t.Context(), b, to); err != nil {
		t.Fatal(err)
	}
	whole(t, find(t, to, "1"), trust)
	if len(asked) != 2 || !strings.HasPrefix(asked[0], "bytes=0-") || strings.HasPrefix(asked[1], "bytes=0-") {
		t.Errorf("asked for %q", asked)
	}
}

// short lets only so many bytes through.
type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.left)])
	if s.left -= n; err == nil && s.left == 0 {
		s.ResponseWriter.(http.Flusher).Flush()
		err = errors.New("cut")
	}
	return n, err
}

func TestHostileWeb(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	a, _ := b.Artifact("debian-13")
	files := http.FileServer(http.Dir(l.dir))
	for name, tt := range map[string]struct {
		answer http.HandlerFunc // for the disk image
		is     error
		says   string
		asked  int
	}{
		"other bytes": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, a.Size)) }, blob.ErrMismatch, "", 1},
		"gone":        {http.NotFound, blob.ErrNone, "", 1},
		"another part": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, nil, "sends another part", 1},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no\x1b[2J", http.StatusForbidden) }, nil, `answers 403: "no\x1b[2J"`, 1},
	} {
		asked := 0
		url, client := site(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, a.Digest.Hex()) {
				asked++
				tt.answer(w, q)
				return
			}
			files.ServeHTTP(w, q)
		}))
		p, err := OpenWeb(t.Context(), url, client)
		if err != nil {
			t.Fatal(err)
		}
		far, err := Find(t.Context(), p, "1")
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "d")
		err = PullTo(t.Context(), far, to)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) || asked != tt.asked {
			t.Errorf("%s: asked %d times: %v", name, asked, err)
		}
		q, err := OpenLocal(to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Find(t.Context(), q, "1"); !errors.Is(err, ErrNoRelease) {
			t.Errorf("%s: a half release is visible: %v", name, err)
		}
	}
	for _, url := range []string{"ftp://x/y", "x", "https://", "https://x/?q", "http://x/#f"} {
		if _, err := OpenWeb(t.Context(), url, http.DefaultClient); err == nil || !strings.Contains(err.Error(), "is no URL of a bundle") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A server that is busy says when to come again.
func TestBusyWeb(t *testing.T) {
	w := &web{reader: reader{name: "x"}}
	for header, want := range map[string]time.Duration{"5": 5 * time.Second, "86400": webBusy, "-1": 0, "soon": 0, "": 0} {
		a := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {header}}}
		if again, err := w.judge(a, 0); again != want || err == nil {
			t.Errorf("%q: %v %v", header, again, err)
		}
	}
	l := newLayout(t)
	release(t, l, "1")
	files, busy := http.FileServer(http.Dir(l.dir)), 1
	url, client := site(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if busy--; busy >= 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		files.ServeHTTP(w, q)
	}))
	if _, err := OpenWeb(t.Context(), url, client); err != nil {
		t.Error(err)
	}
}

// A blob of a place that sends parts is one stream, and one that is too short or too
// long is seen.
func TestStream(t *testing.T) {
	l := newLayout(t)
	a, _ := release(t, l, "1").Artifact("debian-13")
	want, err := os.ReadFile(blobFile(l, a.Digest))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data []byte
		ok   bool
	}{"as it is": {want, true}, "too short": {want[:len(want)-1], false}, "too long": {append(slices.Clone(want), 0), false}, "nothing": {nil, false}} {
		p := &parts{local: l.local, data: tt.data}
		b := &Bundle{Release: &Release{Name: "1", Artifacts: []Artifact{a}}, Place: p}
		b.Artifacts[0].Disk = nil
		damaged, err := b.CheckBlobs(t.Context())
		if err != nil || (len(damaged) == 0) != tt.ok {
			t.Errorf("%s: %v %v", name, damaged, err)
		}
	}
}

// A place that cannot be asked at this moment is away; one that says no is not.
func TestAway(t *testing.T) {
	answers := func(status int) error {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		defer s.Close()
		_, err := OpenWeb(t.Context(), s.URL, s.Client())
		return err
	}
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	_, refused := OpenWeb(t.Context(), s.URL, s.Client())
	_, missing := OpenLocal(filepath.Join(t.TempDir(), "nowhere"))
	_, empty := OpenLocal(t.TempDir())
	for what, x := range map[string]struct {
		err  error
		away bool
	}{
		"nobody listens": {refused, true}, "busy": {answers(503), true}, "broken": {answers(500), true},
		"not there": {answers(404), false}, "not for us": {answers(403), false}, "no directory": {missing, false}, "no bundle": {empty, false},
	} {
		if x.err == nil || Away(x.err) != x.away {
			t.Errorf("%s: %v", what, x.err)
		}
	}
}
