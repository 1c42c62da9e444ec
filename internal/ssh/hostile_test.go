package ssh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"
)

func TestNobodyListens(t *testing.T) {
	target := serve(t, func(net.Conn) {})
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target.Port = closed.Addr().(*net.TCPAddr).AddrPort().Port()
	closed.Close()
	_, err = newClient(t).Do(t.Context(), target, Exchange{})
	if e := wantError(t, err, ErrSilent, "nothing listens there"); !e.Retry() {
		t.Error("it is not tried again")
	}
}

func TestNoRoute(t *testing.T) {
	c := newClient(t, func(o *Options) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no route\x1b[2J to host")
		}
	})
	_, err := c.Do(t.Context(), nowhere, Exchange{})
	wantError(t, err, ErrSilent, "no route to host", "check its cable")
}

func TestNotSSH(t *testing.T) {
	for name, c := range map[string]struct {
		talk  func(net.Conn)
		words string
	}{
		"closes at once": {func(net.Conn) {}, "ended the connection before the login"},
		"web server":     {func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat("HTTP/1.1 400 Bad Request\x1b[2J ", 20)) }, "before the login"},
		"endless lines": {func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, "hello\r\n")
			}
		}, "before the login"},
		"half a handshake": {func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-\x1b[31mred\r\n\x00\x00\x00\x0c\x0a") }, "before the login"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t).Do(t.Context(), serve(t, c.talk), Exchange{})
			wantError(t, err, ErrSilent, c.words)
		})
	}
}

// TestNeverAnswers: each stage may hang; the login's limit and the context end it.
func TestNeverAnswers(t *testing.T) {
	hang := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	short := func(o *Options) { o.Login = 50 * time.Millisecond }
	_, err := newClient(t, short).Do(t.Context(), serve(t, hang), Exchange{})
	wantError(t, err, ErrSlow, "did not let us in in time")

	hold := make(chan struct{})
	defer close(hold)
	d := newDevice(t, func(d *device) {
		d.config.PasswordCallback = func(xssh.ConnMetadata, []byte) (*xssh.Permissions, error) { <-hold; return nil, nil }
	})
	_, err = newClient(t, func(o *Options) { o.Login = time.Second }).Do(t.Context(), d.target, Exchange{})
	wantError(t, err, ErrSlow, "did not let us in in time")
}

func TestCommandThatDoesNotEnd(t *testing.T) {
	begun := make(chan struct{}, 2)
	ended := make(chan struct{})
	defer close(ended)
	d := newDevice(t, func(d *device) {
		d.handle = func(_ *device, _ string, c xssh.Channel) int {
			_, _ = c.Write([]byte("begun\n"))
			begun <- struct{}{}
			<-ended
			return quiet
		}
	})
	c := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	_, err := c.Do(ctx, d.target, Exchange{Run: []string{"reload"}})
	if e := wantError(t, err, ErrCanceled, "given up"); e.Retry() {
		t.Error("it is tried again")
	}
	out, err := c.Do(soon(t, 2*time.Second), d.target, Exchange{Run: []string{"reload"}})
	e := wantError(t, err, ErrLost, "not done in the time", "may have been carried out")
	if !e.Retry() || len(out) != 1 || out[0].Text != "begun" || out[0].Status != -1 {
		t.Errorf("%v %+v", e.Retry(), out)
	}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	_, err = c.Do(canceled, d.target, Exchange{})
	wantError(t, err, ErrCanceled, "given up")
}

func TestEndlessBanner(t *testing.T) {
	d := newDevice(t, func(d *device) {
		d.config.BannerCallback = func(xssh.ConnMetadata) string { return strings.Repeat("\x1b[2Jno entry\n", 10000) }
	})
	_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
	wantError(t, err, ErrLogin, "its banner has no end")
	if tries := d.noted(&d.tries); len(tries) > 0 {
		t.Errorf("%q", tries)
	}
	d = newDevice(t, func(d *device) {
		d.config.PasswordCallback = nil
		d.config.NoClientAuthCallback = func(m xssh.ConnMetadata) (*xssh.Permissions, error) {
			for err := error(nil); err == nil; {
				err = m.(xssh.ServerPreAuthConn).SendAuthBanner("again\n")
			}
			return nil, errors.New("closed")
		}
		d.config.NoClientAuth = true
	})
	_, err = newClient(t).Do(t.Context(), d.target, Exchange{})
	wantError(t, err, ErrLogin, "its banner has no end")
	d = newDevice(t, func(d *device) {
		d.config.BannerCallback = func(xssh.ConnMetadata) string { return "Authorised use only.\n" }
	})
	if _, err := newClient(t).Do(t.Context(), d.target, Exchange{}); err != nil {
		t.Error(err)
	}
}

func TestEndlessOutput(t *testing.T) {
	d := newDevice(t, func(d *device) {
		d.handle = func(_ *device, _ string, c xssh.Channel) int {
			chunk := bytes.Repeat([]byte("0123456789\x1b[2J\r"), 1<<12)
			for err := error(nil); err == nil; {
				_, err = c.Write(chunk)
			}
			return 0
		}
	})
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"show all"}})
	e := wantError(t, err, ErrFailed, "printed more than 16 MiB")
	if e.Retry() || len(out) != 1 || len(out[0].Text) > MaxText+100 || !strings.Contains(out[0].Text, "bytes cut]") {
		t.Errorf("%v %d bytes", e.Retry(), len(out[0].Text))
	}
}

func TestLongOutputIsCut(t *testing.T) {
	d := newDevice(t)
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"echo first; seq 100000; echo last"}})
	if err != nil {
		t.Fatal(err)
	}
	text := out[0].Text
	if !strings.HasPrefix(text, "first\n1\n2\n") || !strings.HasSuffix(text, "\n99999\n100000\nlast") || !strings.Contains(text, " bytes cut]\n") || len(text) > MaxText+100 {
		t.Errorf("%d bytes: %q … %q", len(text), text[:40], text[len(text)-40:])
	}
}

func TestTerminalEscapes(t *testing.T) {
	const hostile = "\x1b]0;title\x07\x1b[2J\x1b[1;31mdown\x1b[0m\x08\x9b31m \u202eevil\u2028\xff"
	d := newDevice(t, func(d *device) {
		d.handle = func(_ *device, _ string, c xssh.Channel) int {
			_, _ = c.Write([]byte(hostile))
			_, _ = c.Stderr().Write([]byte(hostile))
			return 1
		}
	})
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"show"}})
	wantError(t, err, ErrFailed, "down", "evil")
	if !printableLine(strings.ReplaceAll(out[0].Text, "\n", "")) || !strings.Contains(out[0].Text, "down") {
		t.Errorf("%q", out[0].Text)
	}
}

func TestEndBySignal(t *testing.T) {
	d := newDevice(t, func(d *device) {
		d.handle = func(_ *device, _ string, c xssh.Channel) int {
			_, _ = c.Write([]byte("working\n"))
			_, _ = c.SendRequest("exit-signal", false, xssh.Marshal(struct {
				Signal      string
				Core        bool
				Error, Lang string
			}{"KI\x1b[2JLL", true, "killed\x1b[2J", ""}))
			return quiet
		}
	})
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"upgrade"}})
	e := wantError(t, err, ErrFailed, "ended by signal KILL", "working")
	if e.Status != -1 || out[0].Status != -1 {
		t.Errorf("%+v", e)
	}
}

func TestEndWithoutStatus(t *testing.T) {
	d := newDevice(t, func(d *device) {
		d.handle = func(_ *device, _ string, c xssh.Channel) int { _, _ = c.Write([]byte("ok\n")); return quiet }
	})
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"show"}})
	wantError(t, err, ErrFailed, "ended without a status")
	if out[0].Text != "ok" || out[0].Status != -1 {
		t.Errorf("%+v", out)
	}
}

func TestOneCommandPerConnection(t *testing.T) {
	d := newDevice(t, func(d *device) { d.perConn = 1 })
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"echo one", "echo two"}})
	wantError(t, err, ErrFailed, "one per exchange")
	if len(out) != 2 || out[0].Text != "one" {
		t.Errorf("%+v", out)
	}
}

// cutWire breaks after so many bytes that we wrote.
type cutWire struct {
	net.Conn
	left atomic.Int64
}

func (c *cutWire) Write(p []byte) (int, error) {
	if c.left.Add(-int64(len(p))) < 0 {
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

// TestCutInTheMiddleOfAFile: half a file is never put in place, although the end
// of the connection looks like the end of the file to the device.
func TestCutInTheMiddleOfAFile(t *testing.T) {
	ended := make(chan int, 1)
	d := newDevice(t, func(d *device) {
		d.handle = func(d *device, command string, c xssh.Channel) int {
			status := shell(d, command, c)
			ended <- status
			return status
		}
	})
	path := filepath.Join(t.TempDir(), "config.boot")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			wire, err := dial(ctx, network, address)
			w := &cutWire{Conn: wire}
			w.left.Store(200 << 10)
			return w, err
		}
	})
	_, err := c.Do(t.Context(), d.target, Exchange{Files: []File{{Path: path, Content: make([]byte, 1<<20)}}})
	if e := wantError(t, err, ErrLost, "the connection broke", path); !e.Retry() {
		t.Error("it is not tried again")
	}
	if status := <-ended; status == 0 {
		t.Error("the device believes that it has the file")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("%d bytes %v", len(b), err)
	}
	// The next attempt does it, and clears away what is left over.
	if err := os.WriteFile((File{Path: path}).beside(), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = newClient(t)
	if _, err := c.Do(t.Context(), d.target, Exchange{Files: []File{{Path: path, Content: []byte("new")}}}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("%q %v", b, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

// TestAFileIsNotTaken: a command that ends well proves nothing, whatever it prints
// of what it was told.
func TestAFileIsNotTaken(t *testing.T) {
	for _, size := range []int{5, 8 << 20} {
		d := newDevice(t, func(d *device) {
			d.handle = func(_ *device, command string, c xssh.Channel) int {
				_, _ = io.WriteString(c, "% Invalid command: "+command+"\n")
				return 0
			}
		})
		_, err := newClient(t).Do(t.Context(), d.target, Exchange{Files: []File{{Path: "/etc/big", Content: make([]byte, size)}}})
		wantError(t, err, ErrFailed, "does not say that the file is in place", "Invalid command", "POSIX shell")
	}
}

func TestClosesWhileACommandRuns(t *testing.T) {
	d := newDevice(t)
	wires := make(chan net.Conn, 1)
	d.handle = func(*device, string, xssh.Channel) int { (<-wires).Close(); return quiet }
	c := newClient(t, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			wire, err := dial(ctx, network, address)
			wires <- wire
			return wire, err
		}
	})
	out, err := c.Do(t.Context(), d.target, Exchange{Run: []string{"reboot"}})
	if wantError(t, err, ErrLost, "the connection broke", "may have been carried out"); len(out) != 1 {
		t.Errorf("%+v", out)
	}
}

func TestClosesAtTheLogin(t *testing.T) {
	var wire atomic.Pointer[net.Conn]
	d := newDevice(t, func(d *device) {
		d.config.PasswordCallback = func(xssh.ConnMetadata, []byte) (*xssh.Permissions, error) {
			(*wire.Load()).Close()
			return nil, errors.New("go away")
		}
	})
	c := newClient(t, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			w, err := dial(ctx, network, address)
			wire.Store(&w)
			return w, err
		}
	})
	_, err := c.Do(t.Context(), d.target, Exchange{})
	if e := wantError(t, err, ErrLogin, "closed the connection when user"); e.Retry() {
		t.Error("it is tried again")
	}
}

func TestOnlyOldAlgorithms(t *testing.T) {
	d := newDevice(t, func(d *device) { d.config.KeyExchanges = []string{xssh.InsecureKeyExchangeDH14SHA1} })
	_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
	wantError(t, err, ErrLogin, "nothing that is safe", "diffie-hellman-group14-sha1")
}
