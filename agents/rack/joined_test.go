package rackagent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
)

// The rack may as well be in another process: the agent joins it through its
// socket, and devices reach the agent at its lasting address.
func TestJoinedRack(t *testing.T) {
	dir, err := os.MkdirTemp("", "rack") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "r1.sock")
	socket, err := sim.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var remote *sim.Remote
	var where sim.Services
	l := newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), func(o *Options) {
		where = sim.Services{TFTP: o.TFTP.LocalAddr(), HTTP: o.HTTP.Addr()}
		o.BaseURL = "http://" + sim.AgentHTTP
		o.ListenDHCP = func() (net.PacketConn, error) { return remote.ListenDHCP() }
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return remote.Dial(ctx, network, address)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.sim.Serve(ctx, socket) }()
	defer func() {
		stop()
		if err := errors.Join(<-ended, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	}()
	if remote, err = sim.Join(ctx, path); err != nil {
		t.Fatal(err)
	}
	if _, err = remote.ListenDHCP(); err == nil {
		err = remote.Connect(ctx, where)
	}
	if err := errors.Join(err, l.agent.Run(ctx), remote.Close()); err != nil {
		t.Fatal(err)
	}
	if ready, failed := tally(t, l); ready != 9 || failed != 0 {
		t.Errorf("%d devices are ready, %d failed", ready, failed)
	}
	if v := l.violations(t); len(v) > 0 {
		t.Errorf("%d violations: %v", len(v), v)
	}
}

// tally counts the devices by how they ended, from the journal.
func tally(t *testing.T, l *lab) (ready, failed int) {
	t.Helper()
	events, err := l.log.Read(1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		switch e.Kind {
		case rack.DeviceReady:
			ready++
		case rack.DeviceFailed:
			failed++
		}
	}
	return ready, failed
}
