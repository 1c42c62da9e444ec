//go:build system

package ssh

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"
)

// sshd is Debian's OpenSSH server with a configuration and keys of the test.
type sshd struct {
	target Target
	log    *bytes.Buffer // to be read after stop
	stop   func()
}

// startSSHD starts one on a free port of loopback. It takes key for the user who
// runs the test, root, and no password: that would be the machine's.
func startSSHD(t *testing.T, public xssh.PublicKey, private []byte, options ...string) sshd {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Fatal("sshd is missing: install Debian's package openssh-server")
	}
	me, err := user.Current()
	if err != nil || me.Uid != "0" {
		t.Fatalf("this test needs root, not %v (%v)", me, err)
	}
	if _, err := os.Stat("/run/sshd"); os.IsNotExist(err) { // where it separates privileges
		if err := os.Mkdir("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove("/run/sshd") })
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, host := newKey(t)
	config := []string{
		"HostKey " + write("host", host),
		"AuthorizedKeysFile " + write("authorized", xssh.MarshalAuthorizedKey(public)),
		"ListenAddress 127.0.0.1", "PermitRootLogin prohibit-password", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"UsePAM no", "StrictModes no", "PidFile none", "LogLevel VERBOSE", "PrintMotd no",
		"Banner " + write("banner", []byte("Authorised use only.\n")),
	}
	path := write("config", []byte(strings.Join(append(options, config...), "\n")+"\n")) // the first of two options counts
	port := freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-D", "-e", "-f", path, "-p", fmt.Sprint(port))
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := sshd{log: &bytes.Buffer{}, target: Target{Device: "tor-01", Life: "t-7", Address: netip.MustParseAddr("127.0.0.1"), Port: port, User: me.Username, Key: private}}
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		heard := false
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			fmt.Fprintln(s.log, lines.Text())
			if strings.Contains(lines.Text(), "Server listening") && !heard {
				heard = true
				close(listening)
			}
		}
	}()
	stopped := false
	s.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-ended
			_ = cmd.Wait()
		}
	}
	t.Cleanup(s.stop)
	select {
	case <-listening:
	case <-ended:
		t.Fatalf("sshd did not start:\n%s", s.log)
	}
	return s
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func TestOpenSSH(t *testing.T) {
	signer, key := newKey(t)
	s := startSSHD(t, signer.PublicKey(), key)
	c := newClient(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "it's a config $(reboot).json")
	content := bytes.Repeat([]byte("0123456789abcdef\x00\xff\r\n"), 1<<16) // more than a window
	out, err := c.Do(t.Context(), s.target, Exchange{
		Files: []File{{Path: path, Mode: 0o644, Content: content}},
		Run:   []string{"wc -c <" + quote(path), "printf '\\033[2Jup\\r\\n'; printf down >&2", "seq 1000000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes of %d, %v", len(b), len(content), err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode() != 0o644 {
		t.Errorf("%v %v", i.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left over: %v %v", left, err)
	}
	if strings.TrimSpace(out[0].Text) != fmt.Sprint(len(content)) || !strings.Contains(out[1].Text, "up") || !strings.Contains(out[1].Text, "down") ||
		strings.Contains(out[1].Text, "\x1b") || !strings.HasSuffix(out[2].Text, "\n1000000") || len(out[2].Text) > MaxText+100 {
		t.Errorf("%q %q %d bytes", out[0].Text, out[1].Text, len(out[2].Text))
	}

	out, err = c.Do(t.Context(), s.target, Exchange{Run: []string{"true", "echo no such vlan >&2; exit 7", "true"}})
	if e := wantError(t, err, ErrFailed, "status 7", "no such vlan"); e.Status != 7 || len(out) != 2 {
		t.Errorf("%+v %+v", e, out)
	}
	_, err = c.Do(t.Context(), s.target, Exchange{Run: []string{"kill -KILL $$"}})
	wantError(t, err, ErrFailed, "signal KILL")
	_, err = c.Do(t.Context(), s.target, Exchange{Run: []string{"kill -KILL $PPID"}}) // the server's own process
	wantError(t, err, ErrLost, "the connection broke")
	_, err = c.Do(t.Context(), s.target, Exchange{Files: []File{{Path: filepath.Join(dir, "none", "x")}}})
	wantError(t, err, ErrFailed, "cannot write beside it")
}

func TestOpenSSHRefuses(t *testing.T) {
	signer, key := newKey(t)
	s := startSSHD(t, signer.PublicKey(), key)
	c := newClient(t)
	if _, err := c.Do(t.Context(), s.target, Exchange{}); err != nil {
		t.Fatal(err)
	}
	other := s.target
	_, other.Key = newKey(t)
	_, err := c.Do(t.Context(), other, Exchange{})
	wantError(t, err, ErrLogin, "refused the key", "offers publickey")
	other.Key, other.Password = nil, testPassword
	_, err = c.Do(t.Context(), other, Exchange{})
	wantError(t, err, ErrLogin, "has nothing")

	// Another server with another key at the same address.
	second := startSSHD(t, signer.PublicKey(), key)
	_, err = c.Do(t.Context(), second.target, Exchange{})
	wantError(t, err, ErrHostKey, "SHA256:")
	second.stop()
	if log := second.log.String(); strings.Contains(log, "Accepted") || strings.Contains(log, "Failed") {
		t.Errorf("a login was tried:\n%s", log)
	}

	// One that was stopped.
	s.stop()
	_, err = c.Do(t.Context(), s.target, Exchange{})
	wantError(t, err, ErrSilent, "nothing listens there")
}

// TestOpenSSHOptions: configurations as network operating systems have them.
func TestOpenSSHOptions(t *testing.T) {
	signer, key := newKey(t)
	for name, options := range map[string][]string{
		"one session at a time":  {"MaxSessions 1"},
		"old ciphers":            {"Ciphers aes128-ctr", "MACs hmac-sha2-256", "KexAlgorithms diffie-hellman-group14-sha256"},
		"keys are renewed often": {"RekeyLimit 64K"},
		"no SFTP, no forwarding": {"DisableForwarding yes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSSHD(t, signer.PublicKey(), key, options...)
			path := filepath.Join(t.TempDir(), "big")
			content := bytes.Repeat([]byte("x"), 1<<20)
			out, err := newClient(t).Do(t.Context(), s.target, Exchange{Files: []File{{Path: path, Content: content}}, Run: []string{"cat " + path + " | wc -c", "cat " + path}})
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(out[0].Text) != fmt.Sprint(len(content)) {
				t.Errorf("%q", out[0].Text)
			}
		})
	}
	s := startSSHD(t, signer.PublicKey(), key, "KexAlgorithms diffie-hellman-group14-sha1")
	_, err := newClient(t).Do(t.Context(), s.target, Exchange{})
	wantError(t, err, ErrLogin, "nothing that is safe")
	s = startSSHD(t, signer.PublicKey(), key, "ForceCommand /bin/false")
	_, err = newClient(t).Do(t.Context(), s.target, Exchange{Run: []string{"show version"}})
	wantError(t, err, ErrFailed, "status 1", "printed nothing")
}
