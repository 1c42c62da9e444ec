package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BLOB_TEST_KILLED_IN"); dir != "" {
		pullAndDie(dir)
	}
	goleak.VerifyTestMain(m)
}

// noise is so many bytes that no other test has.
func noise(size int, seed byte) []byte {
	b := make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{seed}).Read(b); err != nil {
		panic(err)
	}
	return b
}

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// far is a source of some blobs, which misbehaves as told.
type far struct {
	blobs   map[Digest][]byte
	cut     int   // bytes after which a transfer breaks off; 0: it does not
	noRange bool  // it sends whole blobs only
	err     error // what Fetch returns
	before  func(from int64)

	mu    sync.Mutex
	asked []int64 // the first byte of each transfer
}

func newFar(blobs ...[]byte) *far {
	f := &far{blobs: map[Digest][]byte{}}
	for _, b := range blobs {
		f.blobs[Of(b)] = b
	}
	return f
}

var errCut = errors.New("the line was cut")

func (f *far) Fetch(_ context.Context, d Digest, _, from int64) (io.ReadCloser, error) {
	f.mu.Lock()
	f.asked = append(f.asked, from)
	f.mu.Unlock()
	if f.before != nil {
		f.before(from)
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.noRange && from > 0 {
		return nil, ErrNoRange
	}
	rest := f.blobs[d][from:]
	if f.cut > 0 && len(rest) > f.cut {
		return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:f.cut]), failing{})), nil
	}
	return io.NopCloser(bytes.NewReader(rest)), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

func content(t *testing.T, s *Store, d Digest) []byte {
	t.Helper()
	f, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// left is what stands in the ingest folder.
func left(t *testing.T, s *Store) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.ingest(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// pullAndDie pulls a blob and is killed in the middle of it.
func pullAndDie(dir string) {
	s, err := OpenStore(context.Background(), dir, Options{})
	if err != nil {
		panic(err)
	}
	b := noise(1<<20, 9)
	f := newFar(b)
	f.cut = 512 << 10
	f.before = func(from int64) {
		if from > 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	panic(s.Pull(context.Background(), Of(b), int64(len(b)), f))
}
