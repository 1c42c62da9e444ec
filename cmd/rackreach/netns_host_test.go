//go:build netns || bench

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needs fails a test that cannot run here, and says what to install.
func needs(t *testing.T, program, debian string) {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return
		}
	}
	t.Fatalf("this test needs %s: install Debian's package %s", program, debian)
}

// write writes a file of the test's own.
func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// listens reports whether somebody on the host has the DHCP server's port; it fails
// the test when the process that should have ended instead.
func (h *host) listens(p *process) bool {
	h.w.t.Helper()
	select {
	case <-p.ended:
		h.w.t.Fatalf("%s ended (%v) and said:\n%s", p.what, p.err, p.out.String())
	default:
	}
	open, err := h.command(h.w.t.Context(), "cat", "/proc/net/udp").Output()
	if err != nil {
		h.w.t.Fatal(err)
	}
	return strings.Contains(string(open), ":0043 ")
}

// settle is how long a machine is left alone between two servers: what the last one
// left to write is written, and the CPU is quiet.
const settle = 300 * time.Millisecond

// entered calls f in a network namespace; what f opens stays there. The thread
// comes back: one that ended would take the processes with it that it had started
// (Pdeathsig is about the thread).
func entered(in string, f func() error) error {
	runtime.LockOSThread()
	back, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(back)
	ns, err := unix.Open("/run/netns/"+in, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", in, err)
	}
	err = f()
	if back := unix.Setns(back, unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave namespace %s: %w", in, back)) // on a thread that stays locked
	}
	runtime.UnlockOSThread()
	return err
}
