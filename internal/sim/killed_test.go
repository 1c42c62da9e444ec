package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
)

// agentSocket names the socket that TestAgentProcess joins.
const agentSocket = "RACKREACH_TEST_AGENT_SOCKET"

// TestAgentProcess is the process that TestAgentProcessIsKilled kills: it opens
// one of everything, says so, and waits for its end. Run by itself it has nothing
// to do.
func TestAgentProcess(t *testing.T) {
	path := os.Getenv(agentSocket)
	if path == "" {
		return
	}
	r, err := Join(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ListenDHCP(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Connect(t.Context(), Services{HTTP: l.Addr()}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Dial(t.Context(), "udp", "192.168.100.201:623"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("agent is at", l.Addr())
	<-r.Done() // never: the rack outlives it
}

// SIGKILL leaves nothing of an agent behind, and the next one takes over at once.
func TestAgentProcessIsKilled(t *testing.T) {
	a, first, path := joined(t)
	a.die(first)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestAgentProcess$")
		cmd.Env = append(os.Environ(), agentSocket+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said, err := bufio.NewReader(out).ReadString('\n')
		at, ok := strings.CutPrefix(strings.TrimSpace(said), "agent is at ")
		if got := a.sim.services().HTTP; !ok || err != nil || got == nil || got.String() != at {
			t.Errorf("it says %q (%v), the rack knows %v", said, err, got)
		}
		var killed *exec.ExitError
		if err := errors.Join(cmd.Process.Kill(), cmd.Wait()); !errors.As(err, &killed) {
			t.Fatal(err)
		}
	}
	next := join(t, path)
	defer a.die(next)
	a.live(next)
	a.installPXE("mgmt-1")
}

// A BMC forgets the sessions of agents that were killed after a simulated minute: an
// agent that is killed four times in a real one would not find room for long.
func TestBMCForgetsTheKilled(t *testing.T) {
	a := newAgent(t, testRack())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	for range 4 { // as many as it holds
		a.loginAndDie(ctx, "mgmt-1")
	}
	if a.answers("mgmt-1") && time.Since(began) < floorSession { // none is forgotten yet
		t.Fatal("it has room for a fifth")
	}
	for !a.answers("mgmt-1") {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("it has not forgotten one")
		}
	}
}

// loginAndDie opens a session with a BMC, and never says another word.
func (a *agent) loginAndDie(ctx context.Context, device string) {
	a.t.Helper()
	d, _ := a.rack.Device(device)
	c, err := client.NewClient(d.BMC.Address.String(), portIPMI, testUser, testPassword)
	if err != nil {
		a.t.Fatal(err)
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		wire, err := a.wire.Dial(ctx, network, address)
		if err == nil {
			a.t.Cleanup(func() { wire.Close() }) // of a socket without a peer: nothing can be lost
		}
		return wire, err
	}
	c.WithUDPProxy(proxy{dial, ctx}).WithCipherSuiteID(17).WithTimeout(time.Second)
	if _, err := c.OpenSession(ctx); err != nil {
		a.t.Fatal(err)
	}
	if _, err := c.RAKPMessage1(ctx); err != nil {
		a.t.Fatal(err)
	}
	if _, err := c.RAKPMessage3(ctx); err != nil {
		a.t.Fatal(err)
	}
}
