package ssh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	xssh "golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPassword = "it's a secret"

// device is a server of x/crypto/ssh on loopback, whose commands a real shell
// runs, unless handle says otherwise.
type device struct {
	t       *testing.T
	config  *xssh.ServerConfig
	key     xssh.Signer
	handle  func(d *device, command string, c xssh.Channel) (status int) // nil: a shell; quiet: no status is told
	perConn int                                                          // sessions of a connection; 0: any number
	target  Target

	mu    sync.Mutex
	tries []string // logins that were tried, "method" or "method password"
	ran   []string // commands
}

// quiet is the status of a command whose end is not told.
const quiet = -1

func newKey(t *testing.T) (xssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := xssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := xssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return s, pem.EncodeToMemory(block)
}

// newDevice starts a device that takes the password testPassword.
func newDevice(t *testing.T, change ...func(*device)) *device {
	t.Helper()
	d := &device{t: t}
	d.key, _ = newKey(t)
	d.config = &xssh.ServerConfig{PasswordCallback: func(_ xssh.ConnMetadata, p []byte) (*xssh.Permissions, error) {
		d.note(&d.tries, "password "+string(p))
		if string(p) != testPassword {
			return nil, errors.New("wrong")
		}
		return nil, nil
	}}
	for _, f := range change {
		f(d)
	}
	d.config.AddHostKey(d.key)
	d.target = serve(t, d.talk)
	return d
}

// serve hands every connection to talk, each on a goroutine of its own.
func serve(t *testing.T, talk func(net.Conn)) Target {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				talk(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return Target{Device: "tor-01", Life: "t-7", Address: at.Addr(), Port: at.Port(), User: "admin", Password: testPassword}
}

func (d *device) note(to *[]string, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*to = append(*to, what)
}

func (d *device) noted(what *[]string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(*what)
}

func (d *device) talk(wire net.Conn) {
	conn, channels, requests, err := xssh.NewServerConn(wire, d.config)
	if err != nil {
		return
	}
	defer conn.Close()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { // answers as OpenSSH does
		for r := range requests {
			if r.WantReply {
				_ = r.Reply(false, nil)
			}
		}
	})
	sessions := 0
	for n := range channels {
		if sessions++; d.perConn > 0 && sessions > d.perConn {
			_ = n.Reject(xssh.Prohibited, "no more sessions")
			continue
		}
		c, requests, err := n.Accept()
		if err != nil {
			return
		}
		all.Go(func() { d.session(c, requests) })
	}
}

func (d *device) session(c xssh.Channel, requests <-chan *xssh.Request) {
	var command struct{ Text string }
	for r := range requests {
		if r.Type != "exec" || xssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		break
	}
	go xssh.DiscardRequests(requests)
	defer c.Close()
	d.note(&d.ran, command.Text)
	handle := d.handle
	if handle == nil {
		handle = shell
	}
	if status := handle(d, command.Text, c); status >= 0 {
		_, _ = c.SendRequest("exit-status", false, xssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	}
}

// shell runs a command by the shell of this machine.
func shell(d *device, command string, c xssh.Channel) int {
	return run(d, c, "sh", "-c", command)
}

func run(d *device, c xssh.Channel, program string, args ...string) int {
	cmd := exec.CommandContext(d.t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = c, c.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return 255
	}
	if err := cmd.Start(); err != nil {
		return 255
	}
	_, _ = io.Copy(in, c) // also when the connection breaks: then the program sees the end of its input
	in.Close()
	if err := cmd.Wait(); err != nil {
		return max(cmd.ProcessState.ExitCode(), 1)
	}
	return 0
}

func newClient(t *testing.T, change ...func(*Options)) *Client {
	t.Helper()
	var d net.Dialer
	o := Options{Dial: d.DialContext, Keys: NewKeyFile(filepath.Join(t.TempDir(), FileName))}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantError checks kind and words of a failure, and what every message must have.
func wantError(t *testing.T, err, kind error, words ...string) *Error {
	t.Helper()
	var e *Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("%v, want %v", err, kind)
	}
	for _, w := range append(words, "tor-01", "127.0.0.1:", "asked to ", "; ") {
		if !bytes.Contains([]byte(err.Error()), []byte(w)) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if !printableLine(err.Error()) {
		t.Errorf("not printable: %q", err)
	}
	for _, secret := range []string{testPassword, "PRIVATE KEY"} {
		if bytes.Contains([]byte(err.Error()), []byte(secret)) {
			t.Errorf("%q holds a secret", err)
		}
	}
	if e.Answer == "" || e.Next == "" {
		t.Errorf("%+v does not say all", e)
	}
	return e
}

var nowhere = Target{Device: "tor-01", Life: "t-7", Address: netip.MustParseAddr("127.0.0.1"), Port: 9, User: "admin", Password: testPassword}

// soon is a context that ends by itself, long before a test does, and long after
// what a device is waited for.
func soon(t *testing.T, after time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	t.Cleanup(cancel)
	return ctx
}
