package depot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rackreach/rackreach/internal/blob"
)

// stocked makes a directory with one blob of so many bytes.
func stocked(t *testing.T, size int) (dir string, b []byte) {
	t.Helper()
	dir, b = t.TempDir(), make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{3}).Read(b); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700), os.WriteFile(filepath.Join(dir, "blobs", "sha256", blob.Of(b).Hex()), b, 0o600),
		os.WriteFile(filepath.Join(dir, "index.json"), []byte("{}"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return dir, b
}

func byHeader(q *http.Request) string { return q.Header.Get("Agent") }

func TestDepot(t *testing.T) {
	dir, b := stocked(t, 3<<20+17)
	d := New(Options{Dir: dir, Who: byHeader})
	path, size := "/blobs/sha256/"+blob.Of(b).Hex(), len(b)
	for _, tt := range []struct {
		method, path, rng string
		status            int
		body              []byte
		content           string // Content-Range
	}{
		{"GET", path, "", 200, b, ""},
		{"HEAD", path, "", 200, nil, ""},
		{"GET", path, "bytes=0-", 206, b, fmt.Sprintf("bytes 0-%d/%d", size-1, size)},
		{"GET", path, "bytes=5-9", 206, b[5:10], fmt.Sprintf("bytes 5-9/%d", size)},
		{"HEAD", path, "bytes=5-9", 206, nil, fmt.Sprintf("bytes 5-9/%d", size)},
		{"GET", path, "bytes=5-999999999999", 206, b[5:], fmt.Sprintf("bytes 5-%d/%d", size-1, size)},
		{"GET", path, "bytes=5-9223372036854775807", 206, b[5:], fmt.Sprintf("bytes 5-%d/%d", size-1, size)},
		{"GET", path, fmt.Sprintf("bytes=%d-", size), 416, nil, fmt.Sprintf("bytes */%d", size)},
		{"GET", path, "bytes=9-5", 416, nil, fmt.Sprintf("bytes */%d", size)},
		{"GET", path, "bytes=0-1,3-4", 416, nil, fmt.Sprintf("bytes */%d", size)},
		{"GET", path, "bytes=-5", 416, nil, fmt.Sprintf("bytes */%d", size)},
		{"GET", path, "lines=1-2", 416, nil, fmt.Sprintf("bytes */%d", size)},
		{"GET", "/blobs/sha256/" + strings.Repeat("0", 64), "", 404, nil, ""},
		{"GET", "/blobs/sha256/..%2f..%2findex.json", "", 400, nil, ""},
		{"GET", "/blobs/sha256/x", "", 400, nil, ""},
		{"GET", "/blobs/sha256/", "", 404, nil, ""},
		{"GET", "/lock", "", 404, nil, ""},
		{"GET", "/oci-layout", "", 404, nil, ""},
		{"GET", "/index.json", "", 200, []byte("{}"), ""},
		{"POST", path, "", 405, nil, ""},
		{"PUT", "/index.json", "", 405, nil, ""},
	} {
		q := httptest.NewRequest(tt.method, tt.path, nil)
		if tt.rng != "" {
			q.Header.Set("Range", tt.rng)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, q)
		if w.Code != tt.status || tt.status < 300 && tt.method == "GET" && !bytes.Equal(w.Body.Bytes(), tt.body) || tt.method == "HEAD" && w.Body.Len() > 0 || w.Header().Get("Content-Range") != tt.content {
			t.Errorf("%s %s %s: %d with %d bytes, %s", tt.method, tt.path, tt.rng, w.Code, w.Body.Len(), w.Header().Get("Content-Range"))
		}
	}
	if active, waiting, _ := d.Stand(); active != 0 || waiting != 0 {
		t.Errorf("%d active, %d waiting", active, waiting)
	}
}

// spied is a connection that tells what it was given whole.
type spied struct {
	*net.TCPConn
	files *atomic.Int64
}

func (s spied) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			s.files.Add(1)
		}
	}
	return s.TCPConn.ReadFrom(r)
}

type spy struct {
	net.Listener
	files atomic.Int64
}

func (s *spy) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return spied{c.(*net.TCPConn), &s.files}, nil
}

// Over plain HTTP/1 the file itself reaches the connection, so the kernel sends it.
func TestSendfile(t *testing.T) {
	dir, b := stocked(t, 5<<20)
	s := httptest.NewUnstartedServer(New(Options{Dir: dir, Who: byHeader}))
	l := &spy{Listener: s.Listener}
	s.Listener = l
	s.Start()
	defer s.Close()
	a, err := s.Client().Get(s.URL + "/blobs/sha256/" + blob.Of(b).Hex())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil || !bytes.Equal(got, b) || l.files.Load() != 5 {
		t.Errorf("%d bytes, %v, the file reached the connection %d times", len(got), err, l.files.Load())
	}
}

// 1,000 agents that ask for one blob: few are sent at a time, all get it, and what
// else is served does not wait while nobody of them reads.
func TestThousandAgents(t *testing.T) {
	dir, b := stocked(t, 4<<20) // more than the buffers of a connection take
	d := New(Options{Dir: dir, Who: byHeader, Transfers: 8})
	mux := http.NewServeMux()
	mux.Handle("/depot/", http.StripPrefix("/depot", d))
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP1(true)
	s.Start()
	defer s.Close()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	const agents = 1000
	read := make(chan struct{})
	var got, most atomic.Int64
	var asked, all sync.WaitGroup
	for i := range agents {
		asked.Add(1)
		all.Go(func() {
			q, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/depot/blobs/sha256/"+blob.Of(b).Hex(), nil)
			if err != nil {
				panic(err)
			}
			q.Header.Set("Agent", fmt.Sprint(i))
			q.Header.Set("Range", fmt.Sprintf("bytes=0-%d", 64<<10))
			if i < 8 {
				q.Header.Del("Range")
			}
			asked.Done()
			a, err := client.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Body.Close()
			active, _, _ := d.Stand()
			for old := most.Load(); int64(active) > old && !most.CompareAndSwap(old, int64(active)); old = most.Load() {
			}
			<-read
			n, err := io.Copy(io.Discard, a.Body)
			if err != nil || n != int64(len(b)) && n != 64<<10+1 {
				t.Errorf("agent %d: %d bytes, %v", i, n, err)
			}
			got.Add(1)
		})
	}
	asked.Wait()
	a, err := client.Get(s.URL + "/api")
	if err != nil || a.StatusCode != http.StatusNoContent || a.Body.Close() != nil {
		t.Errorf("the API: %v %v", a, err)
	}
	close(read)
	all.Wait()
	if got.Load() != agents || most.Load() > 8 {
		t.Errorf("%d agents were served, %d at a time", got.Load(), most.Load())
	}
}

func TestTooMany(t *testing.T) {
	dir, b := stocked(t, 10)
	d := New(Options{Dir: dir, Who: byHeader, Transfers: 1, Waiting: 1})
	if err := d.turns.enter(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan struct{})
	go func() { defer close(waits); _ = d.turns.enter(ctx, "y") }()
	defer func() { cancel(); <-waits }()
	for _, n, _ := d.Stand(); n == 0; _, n, _ = d.Stand() {
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest("GET", "/blobs/sha256/"+blob.Of(b).Hex(), nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-5", int64(10))
	f.Add("bytes=18446744073709551615-", int64(1))
	f.Fuzz(func(t *testing.T, h string, size int64) {
		if size < 0 {
			return
		}
		s, part, err := parseRange(h, size)
		if err == nil && (s.from < 0 || s.to > size || part && s.from >= s.to) {
			t.Errorf("%q of %d: %+v", h, size, s)
		}
	})
}

// A long transfer queues again after each turn, and ends there when who asks may have
// nothing more.
func TestLongTransfers(t *testing.T) {
	dir, _ := stocked(t, 10)
	hex := strings.Repeat("a", 64)
	const size = 2*turnBytes + 5
	f, err := os.Create(filepath.Join(dir, "blobs", "sha256", hex))
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ most, want int64 }{{10, size}, {1, 2 * turnBytes}, {0, turnBytes}} {
		asked := int64(0)
		s := httptest.NewServer(New(Options{Dir: dir, Who: byHeader, Allowed: func(*http.Request) error {
			if asked++; asked > tt.most {
				return errors.New("the certificate is revoked")
			}
			return nil
		}}))
		a, err := s.Client().Get(s.URL + "/blobs/sha256/" + hex)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, a.Body)
		if n != tt.want || (err == nil) != (tt.want == size) || a.Body.Close() != nil {
			t.Errorf("allowed %d more turns: %d bytes, %v", tt.most, n, err)
		}
		s.Close()
	}
}
