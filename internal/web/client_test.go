package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory keeps keys.
type memory struct {
	mu   sync.Mutex
	keys map[string][]byte
	err  error
}

func (m *memory) Get(device, life string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[device+" "+life]
	return k, ok, m.err
}

func (m *memory) Put(device, life string, key []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[device+" "+life] = key
	return m.err
}

// device is a server with a certificate that nobody knows, or without one.
func device(t *testing.T, overTLS bool, h http.HandlerFunc) (Target, uint16) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if overTLS {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour)} // its clock is wrong, too
		raw, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	at := s.Listener.Addr().(*net.TCPAddr).AddrPort()
	return Target{Device: "tor-1", Life: "r1/tor-1/1", Address: at.Addr()}, at.Port()
}

func client(k Keys) *Client {
	var d net.Dialer
	return New(Options{Dial: d.DialContext, Keys: k})
}

func TestRequestReachesTheDevice(t *testing.T) {
	var got http.Request
	var body []byte
	at, port := device(t, true, func(w http.ResponseWriter, r *http.Request) {
		got = *r.Clone(context.Background())
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"state": "licensed"}`)
	})
	at.User, at.Password = "admin", "hunter2"
	keys := &memory{keys: map[string][]byte{}}
	err := client(keys).Do(t.Context(), at, Request{Method: "POST", Scheme: "https", Port: port, Path: "/api/v1/license?now=1", Body: []byte(`{"key": 1}`),
		Type: "application/json", Status: []int{200, 202}, Expect: []string{"licensed"}})
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := got.BasicAuth()
	if got.Method != "POST" || got.URL.String() != "/api/v1/license?now=1" || string(body) != `{"key": 1}` || got.Header.Get("Content-Type") != "application/json" || user != "admin" || password != "hunter2" {
		t.Errorf("%s %s %q %v", got.Method, got.URL, body, got.Header)
	}
	if len(keys.keys["tor-1 r1/tor-1/1/tls"]) == 0 {
		t.Errorf("pinned: %v", keys.keys)
	}
}

// Another key than at first contact gets nothing, not even a password.
func TestKeyIsHeld(t *testing.T) {
	asked := 0
	h := func(http.ResponseWriter, *http.Request) { asked++ }
	at, port := device(t, true, h)
	other, otherPort := device(t, true, h)
	c := client(&memory{keys: map[string][]byte{}})
	q := Request{Method: "GET", Scheme: "https", Port: port, Path: "/", Status: []int{200}}
	for range 2 {
		if err := c.Do(t.Context(), at, q); err != nil {
			t.Fatal(err)
		}
	}
	q.Port = otherPort
	err := c.Do(t.Context(), other, q)
	if !errors.Is(err, ErrKey) || !Final(err) || !strings.Contains(err.Error(), "SHA256:") || asked != 2 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	q.Unchecked = true
	if err := c.Do(t.Context(), other, q); err != nil {
		t.Error(err)
	}
	other.Life = "r1/tor-1/2" // installed anew
	if q.Unchecked = false; c.Do(t.Context(), other, q) != nil {
		t.Error("a new life has a new key")
	}
}

func TestKeyThatCannotBeRecordedGetsNothing(t *testing.T) {
	asked := 0
	at, port := device(t, true, func(http.ResponseWriter, *http.Request) { asked++ })
	err := client(&memory{keys: map[string][]byte{}, err: errors.New("the disk is full")}).Do(t.Context(), at, Request{Method: "GET", Scheme: "https", Port: port, Path: "/", Status: []int{200}})
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || Final(err) || asked != 0 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

// Whatever a device answers, what is shown of it is one short line that a terminal only
// prints, without our password.
func TestAnswersOfDevices(t *testing.T) {
	long := strings.Repeat("A", 2*maxAnswer)
	for _, x := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		says   string
		final  bool
	}{
		{"another status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = io.WriteString(w, "busy\n") }, ErrAnswer, "status 503, and [200] is expected; it says: busy", false},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, ErrAnswer, "status 302", false},
		{"login", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, ErrRefused, "correct access: in the rack file", true},
		{"missing", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "\x1b]0;owned\x07\x1b[2Jno\r\nluck \xff\u202e hunter2 YWRtaW46aHVudGVyMg==")
		}, ErrAnswer,
			`it does not show "licensed"; it says: ]0;owned [2Jno luck ? *** ***`, false},
		{"a megabyte", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) }, ErrAnswer, "more than 1048576 bytes, beginning with: AAA", false},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "licensed")
		}, ErrSilent, "its answer breaks off", false},
		{"endless head", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", long) }, ErrSilent, "", false},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, "\x1b[31mSSH-2.0-"+long)
				_ = c.Close()
			}
		}, ErrSilent, "", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			at, port := device(t, true, x.answer)
			at.User, at.Password = "admin", "hunter2"
			err := client(&memory{keys: map[string][]byte{}}).Do(t.Context(), at, Request{Method: "GET", Scheme: "https", Port: port, Path: "/x", Status: []int{200}, Expect: []string{"licensed"}})
			if !errors.Is(err, x.kind) || !strings.Contains(err.Error(), x.says) || Final(err) != x.final {
				t.Fatalf("%v\nwant %s", err, x.says)
			}
			if s := err.Error(); len(s) > 1024 || strings.Contains(s, "hunter2") || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%d bytes: %q", len(s), s)
			}
		})
	}
}

// A password goes out over TLS only.
func TestPasswordIsNotSentInTheClear(t *testing.T) {
	at, port := device(t, false, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	at.User, at.Password = "admin", "hunter2"
	if err := client(nil).Do(t.Context(), at, Request{Method: "GET", Scheme: "http", Port: port, Path: "/", Status: []int{200}}); err == nil {
		t.Error("it was sent")
	}
	at.User = ""
	for _, path := range []string{"", "x", "http://192.0.2.1/"} {
		if err := client(nil).Do(t.Context(), at, Request{Method: "GET", Scheme: "http", Port: port, Path: path, Status: []int{200}}); err == nil {
			t.Errorf("path %q", path)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	dead := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return nil, errors.New("connection refused\x1b[31m")
	}
	err := New(Options{Dial: dead}).Do(t.Context(), Target{Device: "tor-1", Address: netip.MustParseAddr("192.0.2.1")}, Request{Method: "GET", Scheme: "https", Path: "/", Status: []int{200}})
	if !errors.Is(err, ErrSilent) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
}

// FuzzAnswer holds that nothing a device answers reaches a message raw, or hides that it
// is not what is expected.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "licensed")
	f.Add(500, "\x1b[31m\xff\u202ehunter2")
	f.Add(401, strings.Repeat("YWRtaW46aHVudGVyMg==", 100))
	f.Fuzz(func(t *testing.T, status int, body string) {
		at := Target{User: "admin", Password: "hunter2"}
		err := judge(status, body, at, Request{Status: []int{200}, Expect: []string{"licensed"}})
		if good := status == 200 && len(body) <= maxAnswer && strings.Contains(body, "licensed"); good != (err == nil) {
			t.Fatalf("%d %q: %v", status, body, err)
		}
		if err == nil {
			return
		}
		if s := err.Error(); len(s) > 1024 || strings.Contains(s, "hunter2") || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", s)
		}
	})
}
