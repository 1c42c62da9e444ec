//go:build netns

package adjacency

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// What lldpd and the kernel's bridge tell of a real cable is read as it is.
func TestLLDPDAndBridge(t *testing.T) {
	nstest.Needs(t, "lldpd", "lldpd")
	sw, server := nstest.New(t), nstest.New(t)
	sw.Cable("rr0", server, "rr1")
	sw.Bridge("rr2", "rr0")
	server.Address("rr1", "192.168.100.1/24")
	dir, err := os.MkdirTemp("", "rr-lldpctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "a")
	sw.Start(exec.Command("lldpd", "-d", "-I", "rr0", "-u", socket, "-O", os.DevNull))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	until := func(so func() bool) {
		t.Helper()
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for !so() {
			select {
			case <-again.C:
			case <-ctx.Done():
				t.Fatal("it did not come about in time")
			}
		}
	}
	until(func() bool { _, err := os.Stat(socket); return err == nil })
	server.Start(exec.Command("lldpd", "-d", "-I", "rr1", "-u", filepath.Join(dir, "b"), "-O", os.DevNull))
	mac := server.MAC("rr1").String()
	for _, form := range []string{"json", "json0"} {
		var got []Neighbour
		until(func() bool {
			got, err = Neighbours(LLDPCtl, sw.Run("lldpctl", "-u", socket, "-f", form))
			if err != nil {
				t.Fatal(err)
			}
			return len(got) > 0
		})
		if n := got[0]; len(got) != 1 || n.Port != "rr0" || n.RemotePort != mac || n.Description != "rr1" || n.System == "" || n.Chassis == "" {
			t.Errorf("%s: %+v", form, got)
		}
	}
	until(func() bool { // its kernel speaks by itself as the interface comes up
		stations, err := Stations(Bridge, sw.Run("bridge", "-j", "fdb", "show"))
		if err != nil {
			t.Fatal(err)
		}
		return len(stations) == 1 && stations[0] == Station{"rr0", mac}
	})
}
