//go:build netns

package lease

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestFullDisk fills the disk under a store: what is acknowledged then is durable,
// what is not says what to do, and once there is room again it goes on. It needs root,
// to mount a small tmpfs, and so runs with the tests that need namespaces.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a tmpfs: %v: %s; run as root", err, out)
	}
	var s *Store
	t.Cleanup(func() {
		if s != nil {
			_ = s.Close() // or the tmpfs is busy
		}
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 96<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "leases")
	var err error
	s, err = Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	p := small(5000)
	durable, failed, next := map[Lease]bool{}, 0, 0
	lease := func() bool {
		l := of(stranger(next), offered(t, s, stranger(next), p, none, now), now)
		next++
		bound(t, s, l, now)
		if err := s.Commit(); err != nil {
			failed++
			if _, ok := s.At(l.Address); ok {
				t.Fatal("a lease that is not durable is there")
			}
			return false
		}
		l, _ = s.At(l.Address)
		durable[l] = true
		return true
	}
	for failed < 10 {
		lease()
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if !lease() {
			t.Error("there is room, but it does not go on")
		}
	}
	if s.Stats().Failed != 10 || len(durable) < 30 {
		t.Errorf("%d leases, %+v", len(durable), s.Stats())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Opened elsewhere: renewing the file takes room too.
	after := filepath.Join(t.TempDir(), "leases")
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(after, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Open(after, Options{}); err != nil {
		t.Fatal(err)
	}
	n := 0
	s.All(func(l Lease) {
		n++
		if !durable[l] {
			t.Errorf("it was not acknowledged: %+v", l)
		}
	})
	if n != len(durable) {
		t.Errorf("%d leases, %d were acknowledged", n, len(durable))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
