package sim

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "a simulated rack is served there already") {
		t.Errorf("served twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// The socket of a process that died: nobody removed it.
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "served there already") {
		t.Errorf("somebody without the lock: %v", err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), path); err == nil || !strings.Contains(err.Error(), "start one with") {
		t.Errorf("joined the dead: %v", err)
	}
	l, err = Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "which is no socket") {
		t.Errorf("over a file: %v", err)
	}
	long := "/" + strings.Repeat("x", maxSocketPath)
	if _, err := Listen(t.Context(), long); err == nil || !strings.Contains(err.Error(), "name a shorter one") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := Join(t.Context(), long); err == nil || !strings.Contains(err.Error(), "name a shorter one") {
		t.Errorf("a long path: %v", err)
	}
}

// A stranger on the socket ends only its own connection.
func TestStrangersOnTheSocket(t *testing.T) {
	a, r, path := joined(t)
	defer a.die(r)
	for name, say := range map[string]func(*framed) error{
		"nonsense":    func(f *framed) error { return f.send(frameMessage, []byte("{")) },
		"data":        func(f *framed) error { return f.send(frameData, nil) },
		"old version": func(f *framed) error { return f.say(request{Op: opJoin}) },
		"no session":  func(f *framed) error { return f.say(request{Version: protocolVersion, Op: opDial}) },
		"unknown":     func(f *framed) error { return f.say(request{Version: protocolVersion, Session: r.session, Op: "x"}) },
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		f := newFramed(c)
		if err := say(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got answer
		if err := f.hear(&got); err == nil && got.Error == "" {
			t.Errorf("%s was answered: %+v", name, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	a.installPXE("mgmt-1")
}
