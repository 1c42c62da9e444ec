//go:build netns

package lldp

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

// What lldpd announces, which nobody here wrote, is understood.
func TestListenToLLDPD(t *testing.T) {
	nstest.Needs(t, "lldpd", "lldpd")
	us, them := nstest.New(t), nstest.New(t)
	us.Cable("rr0", them, "rr12")
	them.Address("rr12", "192.168.100.1/24")
	var tap *wire.Tap
	var err error
	us.Do(func() { tap, err = wire.OpenTap("rr0", wire.LLDP()) })
	if err != nil {
		t.Fatal(err)
	}
	// lldpd gives up its rights, and must reach its socket all the same.
	dir, err := os.MkdirTemp("", "rr-lldp")
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
	cmd := exec.Command("lldpd", "-d", "-I", "rr12", "-u", filepath.Join(dir, "socket"), "-O", os.DevNull, "-S", "a description", "-m", "192.168.100.1", "-C", "rr12")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	them.Start(cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("lldpd said:\n%s", said.String())
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	var heard Neighbour
	if err := Listen(ctx, tap, func(n Neighbour) { heard = n; cancel() }); err != nil {
		t.Error(err)
	}
	if heard.MAC != them.MAC("rr12").String() || heard.Chassis == "" || heard.System == "" || heard.About != "a description" || heard.Address.String() != "192.168.100.1" || heard.TTL != 2*time.Minute {
		t.Errorf("%+v", heard)
	}
}
