package bundle

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rackreach/rackreach/internal/blob"
)

// reg serves a registry in this process, behind a handler that may meddle.
func reg(t *testing.T, meddle func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	if meddle != nil {
		h = meddle(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func access(t *testing.T) Access {
	t.Helper()
	c := newClient()
	t.Cleanup(c.CloseIdleConnections)
	return Access{Client: c}
}

// carried pushes a signed release to a registry and pulls it from there, whole.
func carried(t *testing.T, host string, a Access) {
	t.Helper()
	l := newLayout(t)
	b := release(t, l, "2026.3")
	trust := signed(t, l, b)
	second, others := signer(t)
	if _, err := l.Sign(t.Context(), b, second); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again changes nothing
		if where, err := Push(t.Context(), b, host+"/acme/images", a); err != nil || where != host+"/acme/images:2026.3" {
			t.Fatal(where, err)
		}
	}
	if _, err := Push(t.Context(), b, host+"/acme/images:latest", a); err == nil || !strings.Contains(err.Error(), "its tag must be so too") {
		t.Errorf("another tag: %v", err)
	}
	for _, ref := range []string{host + "/acme/images:2026.3", "oci://" + host + "/acme/images", host + "/acme/images@" + string(b.Ref.Digest)} {
		p, err := OpenPlace(t.Context(), ref, a)
		if err != nil {
			t.Fatal(err)
		}
		far, err := Find(t.Context(), p, "")
		if err != nil || far.Ref != b.Ref {
			t.Fatalf("%s: %+v %v", ref, far, err)
		}
		whole(t, far, trust)
		whole(t, far, others)
		to := filepath.Join(t.TempDir(), "x.tar")
		if err := PullTo(t.Context(), far, to); err != nil {
			t.Fatal(err)
		}
		whole(t, find(t, to, ""), trust)
	}
	release(t, l, "2026.4")
	if _, err := Push(t.Context(), find(t, l.dir, "2026.4"), host+"/acme/images:2026.4", a); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPlace(t.Context(), host+"/acme/images", a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), p, ""); err == nil || !strings.Contains(err.Error(), "2026.3, 2026.4") {
		t.Errorf("two releases: %v", err)
	}
	unsigned, err := Find(t.Context(), p, "2026.4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unsigned.Signer(t.Context(), trust); !errors.Is(err, ErrUnsigned) {
		t.Errorf("%v", err)
	}
	none, err := OpenPlace(t.Context(), host+"/acme/images:2026.5", a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), none, ""); !errors.Is(err, ErrNoRelease) {
		t.Errorf("%v", err)
	}
}

func TestRegistry(t *testing.T) { carried(t, reg(t, nil), access(t)) }

// A registry that asks for a login: without one it says what to do.
func TestRegistryLogin(t *testing.T) {
	host := reg(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if user, password, ok := q.BasicAuth(); !ok || user != "ada" || password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`, http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	l := newLayout(t)
	b := release(t, l, "1")
	a := access(t)
	if _, err := Push(t.Context(), b, host+"/x", a); err == nil || !strings.Contains(err.Error(), "log in to it (oras login "+host) {
		t.Errorf("%v", err)
	}
	a.Logins = file(t, "config.json", []byte(`{"auths":{"`+host+`":{"auth":"YWRhOnNlY3JldA=="}}}`))
	if _, err := Push(t.Context(), b, host+"/x", a); err != nil {
		t.Error(err)
	}
}

func TestHostileRegistry(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	disk, _ := b.Artifact("debian-13")
	for name, tt := range map[string]struct {
		suffix string // of the path that is meddled with
		answer http.HandlerFunc
		says   string
	}{
		"a large manifest": {"/manifests/1", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "9000000000")
			w.Header().Set("Docker-Content-Digest", string(b.Ref.Digest))
		}, "it must be 0 to"},
		"another type": {"/manifests/1", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w.Header().Set("Content-Length", "10")
			w.Header().Set("Docker-Content-Digest", string(b.Ref.Digest))
		}, "no manifest of an image"},
		"another manifest": {"/manifests/" + string(b.Ref.Digest), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = w.Write(make([]byte, b.Ref.Size))
		}, "not what its digest says"},
		"other bytes": {"/blobs/" + string(disk.Digest), func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, disk.Size))
		}, "not what its digest says"},
		"nothing": {"/blobs/" + string(disk.Digest), http.NotFound, "the registry does not have it"},
		"an error": {"/blobs/" + string(disk.Digest), func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"\u001b[2J`+strings.Repeat("x", 3000)+`"}]}`, http.StatusTeapot)
		}, "418"},
	} {
		meddling := false
		host := reg(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if meddling && strings.HasSuffix(q.URL.Path, tt.suffix) {
					tt.answer(w, q)
					return
				}
				h.ServeHTTP(w, q)
			})
		})
		a := access(t)
		if _, err := Push(t.Context(), b, host+"/x", a); err != nil {
			t.Fatal(err)
		}
		meddling = true
		p, err := OpenPlace(t.Context(), host+"/x:1", a)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "d")
		far, err := Find(t.Context(), p, "")
		if err == nil {
			err = PullTo(t.Context(), far, to)
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %.500v", name, err)
		}
		if q, err := OpenLocal(to); err == nil {
			if _, err := Find(t.Context(), q, "1"); !errors.Is(err, ErrNoRelease) {
				t.Errorf("%s: a half release is visible: %v", name, err)
			}
		}
	}
}

func TestWhatIsAReference(t *testing.T) {
	for name, want := range map[string]bool{
		"images": false, "images/x": false, "./images": false, "../images/x": false, "/images/x": false, "images.tar": false, "a.b/images.tar": false,
		"localhost/x": true, "localhost:5000/x:1": true, "registry.example.net/acme/x": true, "oci://10.0.0.5:5000/x": true, "": false, "host:": false,
	} {
		if got := isReference(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	dir := t.TempDir()
	t.Chdir(dir)
	l, err := Init(t.Context(), "host.example/x")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := OpenPlace(t.Context(), "host.example/x", Access{})
	if _, local := p.(Local); err != nil || !local {
		t.Errorf("a directory was taken for a registry: %v", err)
	}
	if _, err := OpenPlace(t.Context(), "host.example/UPPER", Access{}); err == nil || !strings.Contains(err.Error(), "no reference of a registry") {
		t.Error(err)
	}
	if _, err := OpenPlace(t.Context(), "nowhere", Access{}); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Error(err)
	}
	for _, tag := range []string{"sha256-" + blob.Of(nil).Hex(), "2026.3"} {
		if isFallback(tag) != strings.HasPrefix(tag, "sha256-") {
			t.Error(tag)
		}
	}
	if _, err := os.Stat("host.example/x/oci-layout"); err != nil {
		t.Error(err)
	}
}
