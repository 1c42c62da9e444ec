package sim

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
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
