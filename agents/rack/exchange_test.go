package rackagent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/ssh"
)

// console is an SSH server whose commands a test answers.
type console struct {
	password string
	answer   func(command string) (text string, ok bool)

	mu     sync.Mutex
	said   []string // commands
	logins int
}

// dial connects to the console, whatever the address.
func (c *console) dial(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := xssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	server := &xssh.ServerConfig{PasswordCallback: func(_ xssh.ConnMetadata, p []byte) (*xssh.Permissions, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.logins++; string(p) != c.password {
			return nil, errors.New("wrong")
		}
		return nil, nil
	}}
	server.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.talk(raw, server) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}
}

var upload = regexp.MustCompile(`^sh -c '.*' \S+ '\S+' '(\S+)' (\d+) \d{4}$`)

func (c *console) talk(raw net.Conn, server *xssh.ServerConfig) {
	defer raw.Close() //nolint:errcheck // the client has gone
	conn, channels, requests, err := xssh.NewServerConn(raw, server)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // as above
	go xssh.DiscardRequests(requests)
	for n := range channels {
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			command := string(r.Payload[4:])
			text, ok := "", true
			if m := upload.FindStringSubmatch(command); m != nil {
				b, _ := io.ReadAll(channel)
				command, text = "put "+m[1]+": "+string(b), "in place: "+m[2]+" bytes\n"
			} else {
				text, ok = c.answer(command)
			}
			c.mu.Lock()
			c.said = append(c.said, command)
			c.mu.Unlock()
			_, _ = io.WriteString(channel, text)
			status := uint32(0)
			if !ok {
				status = 1
			}
			_, _ = channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
			break
		}
		_ = channel.Close()
	}
}

const imageDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// shelled is a switch behind a console, and the shell that speaks to it.
func shelled(t *testing.T, c *console, push *rack.Exchange) (*shell, *rack.Device, config.Life) {
	t.Helper()
	verify := &rack.Exchange{Run: []string{"show"}, Expect: []string{"{{.Receipt}}", "{{.Device}}"}}
	r := &rack.Rack{Name: "r1", Devices: []rack.Device{{Name: "tor-1", Role: rack.ToRSwitch, Platform: "p", Address: netip.MustParseAddr("192.168.100.2"), Access: &rack.Access{Credentials: "env:X"}}}}
	o := &Options{Rack: r, Dial: c.dial(t), Platforms: map[string]rack.Platform{"p": {Name: "p", Steps: []rack.Step{
		{Action: rack.PushConfig, SSH: push}, {Action: rack.VerifyDevice, SSH: verify}}}},
		Credentials: func(string) (string, string, error) { return "admin", "secret", nil }}
	s, err := newShell(o, nil, hostKeys(""))
	if err != nil {
		t.Fatal(err)
	}
	return s, &r.Devices[0], config.Life{Run: "RUN", Ticket: "r1/tor-1/2", Image: rack.Image{Digest: imageDigest}}
}

func receiptOf(ticket string) string {
	return config.Receipt{Rack: "r1", Device: "tor-1", Run: "RUN", Ticket: ticket, Digest: imageDigest}.String()
}

func TestConfigureOverSSH(t *testing.T) {
	held, file := "", regexp.MustCompile(`(?s)^put /etc/x: (.*)$`)
	c := &console{password: "secret"}
	c.answer = func(command string) (string, bool) {
		switch command {
		case "show":
			return "host tor-1\n" + held, held != ""
		case "load":
			held = file.FindStringSubmatch(c.said[len(c.said)-1])[1]
		}
		return "", true
	}
	push := &rack.Exchange{Files: []rack.ExchangeFile{{To: "/etc/x", Name: "x", Template: "{{.Receipt}}\n"}}, Run: []string{"load"}}
	s, d, l := shelled(t, c, push)
	if err := s.configure(t.Context(), d, l, push); err != nil {
		t.Fatal(err)
	}
	if err := s.verify(t.Context(), d, l, s.speaks(d)); err != nil {
		t.Error(err)
	}
	if got, err := s.receipt(t.Context(), d, l, s.speaks(d)); err != nil || got.Holds() != "receipt:RUN/r1/tor-1/2" {
		t.Errorf("%+v, %v", got, err)
	}
	// The same once more, as after a crash.
	if err := s.configure(t.Context(), d, l, push); err != nil {
		t.Error(err)
	}
}

// A switch whose installer gave up comes back with its old system: it is not configured,
// and so never called ready.
func TestADeviceOfAnotherJobIsNotConfigured(t *testing.T) {
	c := &console{password: "secret", answer: func(string) (string, bool) { return receiptOf("r1/tor-1/1"), true }}
	push := &rack.Exchange{Run: []string{"load"}}
	s, d, l := shelled(t, c, push)
	if err := s.configure(t.Context(), d, l, push); err == nil || !strings.Contains(err.Error(), "still runs the system of another job, receipt:RUN/r1/tor-1/1") {
		t.Error(err)
	}
	if slices.Contains(c.said, "load") {
		t.Error("it was configured")
	}
	if err := s.verify(t.Context(), d, l, s.speaks(d)); err == nil {
		t.Error("the receipt of another job passed")
	}
}

// The receipt names the device: that is no proof that the device bears the name.
func TestVerifyTakesNoReceiptForAName(t *testing.T) {
	shows := receiptOf("r1/tor-1/2")
	c := &console{password: "secret", answer: func(string) (string, bool) { return shows, true }}
	s, d, l := shelled(t, c, &rack.Exchange{Run: []string{"load"}})
	if err := s.verify(t.Context(), d, l, s.speaks(d)); err == nil || !strings.Contains(err.Error(), `does not show "tor-1"`) {
		t.Error(err)
	}
	shows += "\nhostname tor-1\n"
	if err := s.verify(t.Context(), d, l, s.speaks(d)); err != nil {
		t.Error(err)
	}
}

// A configuration that is not confirmed in time has failed, and nothing is tried anew
// before the device has its old one again.
func TestUnconfirmed(t *testing.T) {
	reverted := make(chan struct{})
	push := &rack.Exchange{Run: []string{"load"}, Confirm: []string{"keep"}, RevertAfter: 600 * time.Millisecond}
	c := &console{password: "secret", answer: func(command string) (string, bool) {
		if command == "load" { // the device's own time is shorter here, so that it has passed in any case
			time.AfterFunc(push.RevertAfter/3, func() { close(reverted) })
		}
		return "", command == "load"
	}}
	s, d, l := shelled(t, c, push)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := s.configure(ctx, d, l, push)
	select {
	case <-reverted:
	default:
		t.Error("it is tried anew while the configuration that nobody confirmed is in force")
	}
	if !errors.Is(err, ssh.ErrFailed) || ctx.Err() != nil || !slices.Contains(c.said, "keep") {
		t.Errorf("%v; it was told %q", err, c.said)
	}
}

// A wrong password is told once: an account is soon locked. And a host that answers with
// it is in use.
func TestAWrongPasswordIsNotTriedAgain(t *testing.T) {
	c := &console{password: "changed", answer: func(string) (string, bool) { return "", true }}
	s, d, l := shelled(t, c, &rack.Exchange{Run: []string{"load"}})
	for range 3 {
		_, err := s.receipt(t.Context(), d, l, s.speaks(d))
		var e *ssh.Error
		if !answers(err) || !errors.As(err, &e) || !e.Final() || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
	if c.logins != 1 {
		t.Errorf("%d logins", c.logins)
	}
}
