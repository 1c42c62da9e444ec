package sim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
)

// socketPath is short enough for a unix socket, whatever the test is called.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "d", "r1.sock")
}

// served serves a rack until the test ends, or until the returned function is
// called.
func served(t *testing.T, s *Sim, path string) (stop func()) {
	t.Helper()
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func join(t *testing.T, path string) *Remote {
	t.Helper()
	r, err := Join(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// joined is a rack that is switched on, and an agent that reaches it through its
// socket only.
func joined(t *testing.T) (a *agent, r *Remote, path string) {
	t.Helper()
	t.Parallel()
	a = newAgentOff(t, testRack(), testSpeed, 700_001)
	path = socketPath(t)
	t.Cleanup(func() {
		if err := a.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	served(t, a.sim, path)
	a.sim.Start(t.Context())
	r = join(t, path)
	a.live(r)
	return a, r, path
}

// live begins an agent's life at a rack in another process.
func (a *agent) live(r *Remote) {
	a.t.Helper()
	a.wire = r
	a.serve()
	if err := r.Connect(a.t.Context(), a.where); err != nil {
		a.t.Fatal(err)
	}
}

// die ends everything that an agent's process had open, at once.
func (a *agent) die(r *Remote) {
	a.t.Helper()
	if err := r.Close(); err != nil {
		a.t.Error(err)
	}
	a.stop()
}

// A whole rack is imaged by an agent in another process.
func TestJoinedRackIsImaged(t *testing.T) {
	a, r, _ := joined(t)
	defer a.die(r)
	if want := (Hello{"r1", testSpeed, 1, testUser, testPassword, 0}); r.Hello != want {
		t.Errorf("hello %+v, want %+v", r.Hello, want)
	}
	a.imageSwitches()
	a.evidence("dhcp:bmc server-01", 1)
	a.installPXE("server-01")
	a.evidence("dhcp:os server-01", 1)
	a.configure("server-01")
}

// An agent is killed while a device installs, and another one takes over.
func TestAgentIsKilled(t *testing.T) {
	a, r, path := joined(t)
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	stall := make(chan struct{})
	a.mu.Lock()
	a.stall = stall
	a.mu.Unlock()
	a.ticket("tor-1", true)
	a.rec.waitFor(t, "tor-1", kindImageByte, 1)
	open, err := r.Dial(t.Context(), "tcp", "192.168.100.1:80")
	if err != nil {
		t.Fatal(err)
	}
	a.die(r)
	close(stall)
	if _, err := io.ReadAll(open); err == nil {
		t.Error("a connection of the killed agent ended as if all were well")
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
	next := join(t, path)
	defer a.die(next)
	a.live(next)
	a.evidence("dhcp:nos tor-1", 1)
	a.ticket("tor-1", false)
	a.configure("tor-1")
	a.evidence("dhcp:bmc server-01", 1)
	a.installPXE("server-01")
}

// A report is posted until an agent takes it, whichever that is.
func TestReportWaitsForAnAgent(t *testing.T) {
	a, r, path := joined(t)
	a.ticket("mgmt-1", true)
	if err := a.bootPXE("mgmt-1"); err != nil {
		t.Fatal(err)
	}
	a.rec.waitFor(t, "mgmt-1", kindImageCompleted, 1)
	a.die(r)
	a.rec.waitFor(t, "mgmt-1", kindInstallCompleted, 1)
	next := join(t, path)
	defer a.die(next)
	a.live(next)
	a.evidence("reported:installed mgmt-1", 1)
}

// An agent that stays away for good: ONIE goes back to its discovery, and an
// installer ends with a report that is still to be taken.
func TestNoAgentForGood(t *testing.T) {
	a, r, path := joined(t)
	stall := make(chan struct{})
	stop := func(device string) {
		a.mu.Lock()
		stall = make(chan struct{})
		a.stall = stall
		a.mu.Unlock()
		a.ticket(device, true)
	}
	stop("mgmt-1")
	if err := a.bootPXE("mgmt-1"); err != nil {
		t.Fatal(err)
	}
	a.rec.waitFor(t, "mgmt-1", kindImageByte, 1)
	a.die(r)
	close(stall)
	if l := a.rec.waitFor(t, "mgmt-1", kindInstallFailed, 1); !strings.Contains(l.Detail["reason"], "gave up at byte") {
		t.Errorf("%+v", l)
	}
	next := join(t, path)
	a.live(next)
	a.evidence("reported:failed mgmt-1", 1)
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	stop("tor-1")
	a.rec.waitFor(t, "tor-1", kindImageByte, 1)
	a.die(next)
	close(stall)
	a.rec.waitFor(t, "tor-1", kindInstallFailed, 1)
	third := join(t, path)
	defer a.die(third)
	a.live(third)
	a.evidence("dhcp:nos tor-1", 1)
}

func TestRemoteDial(t *testing.T) {
	a, r, _ := joined(t)
	defer a.die(r)
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Dial(short, "tcp", "192.168.100.2:80"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no path of forwarding switches") {
		t.Errorf("a closed path: %v", err)
	}
	for address, want := range map[string]string{"tor-1:80": "write ADDRESS:PORT", "192.168.100.1:80": "tcp and udp"} {
		if _, err := r.Dial(t.Context(), "sctp", address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	u, err := r.Dial(t.Context(), "udp", "192.168.100.201:623")
	if err != nil {
		t.Fatal(err)
	}
	if u.RemoteAddr().String() != "192.168.100.201:623" || u.LocalAddr().Network() != "udp" {
		t.Errorf("%v to %v", u.LocalAddr(), u.RemoteAddr())
	}
	if err := u.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := u.Read(make([]byte, 10)); !isTimeout(err) {
		t.Errorf("nothing was sent: %d %v", n, err)
	}
	// An ASF presence ping (IPMI 2.0 §13.2.3), twice: each pong is a datagram.
	ping := []byte{6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x80, 1, 0, 0}
	for range 2 {
		if n, err := u.Write(ping); n != len(ping) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := u.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b := make([]byte, 1500)
		n, err := u.Read(b)
		if err != nil || n != 28 || b[8] != 0x40 {
			t.Errorf("pong of %d bytes: % x %v", n, b[:n], err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := u.Read(make([]byte, 1))
		done <- err
	}()
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read of what was closed: %v", err)
	}
}

func TestRemoteSeesReset(t *testing.T) {
	a, r, _ := joined(t)
	defer a.die(r)
	a.imageSwitches()
	c, err := r.Dial(t.Context(), "tcp", "192.168.100.2:80")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.bmc("mgmt-1", func(ctx context.Context, c *client.Client) error {
		_, err := c.ChassisControl(ctx, chassis.ChassisControlPowerCycle)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, errReset) {
		t.Errorf("read %d %v, want a reset", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if code, _, err := a.api("tor-1", http.MethodGet, "receipt", nil, patience); err != nil || code != 200 {
		t.Errorf("tor-1 after the reboot: %d %v", code, err)
	}
}

func TestRackGoesAway(t *testing.T) {
	t.Parallel()
	a := newAgentOff(t, testRack(), testSpeed, 1000)
	path := socketPath(t)
	stop := served(t, a.sim, path)
	a.sim.Start(t.Context())
	r := join(t, path)
	u, err := r.Dial(t.Context(), "udp", "192.168.100.201:623")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	<-r.Done()
	if n, err := u.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("read %d %v", n, err)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Dial(t.Context(), "udp", "192.168.100.201:623"); err == nil || !strings.Contains(err.Error(), "start one with rackreach simulated-rack FILE") {
		t.Errorf("got %v", err)
	}
	if err := r.Connect(t.Context(), Services{}); err == nil {
		t.Error("connected to nothing")
	}
	if err := a.sim.Close(); err != nil {
		t.Error(err)
	}
}

func TestTwoAgents(t *testing.T) {
	a, r, path := joined(t)
	other := join(t, path)
	if got, err := Look(t.Context(), path); err != nil || got.Agent != os.Getpid() || got.Rack != "r1" {
		t.Errorf("%+v %v", got, err)
	}
	if err := other.Connect(t.Context(), Services{}); err == nil || !strings.Contains(err.Error(), "another agent is at work on the simulated rack r1") {
		t.Errorf("a second agent: %v", err)
	}
	taken := make(chan error, 1)
	go func() { taken <- other.Connect(t.Context(), a.where) }()
	a.die(r)
	if err := <-taken; err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
}

func TestRemoteDHCPIsOpenedAgain(t *testing.T) {
	t.Parallel()
	a := newAgentOff(t, testRack(), testSpeed, 1000)
	path := socketPath(t)
	defer func() {
		if err := a.sim.Close(); err != nil {
			t.Error(err)
		}
	}()
	served(t, a.sim, path)
	r := join(t, path)
	listen := func() net.PacketConn {
		t.Helper()
		c, err := r.ListenDHCP()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := listen()
	if listen() != first {
		t.Error("opened twice")
	}
	if err := r.Connect(t.Context(), Services{}); err != nil {
		t.Fatal(err)
	}
	at := func() string { return a.sim.services().DHCP.String() }
	if at() != first.LocalAddr().String() {
		t.Errorf("the rack sends to %s, want %s", at(), first.LocalAddr())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if again := listen(); again == first || again.LocalAddr().String() != first.LocalAddr().String() {
		t.Errorf("opened again at %s, want %s", again.LocalAddr(), first.LocalAddr())
	} else if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	taken, err := net.ListenUDP("udp4", first.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if moved := listen(); moved.LocalAddr().String() == first.LocalAddr().String() || at() != moved.LocalAddr().String() {
		t.Errorf("moved to %s, the rack sends to %s", moved.LocalAddr(), at())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ListenDHCP(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
