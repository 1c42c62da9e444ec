//go:build lab

package lab

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// journalLines are the events in what a command says, a line each.
func journalLines(text string) (out []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			out = append(out, line)
		}
	}
	return out
}

// TestRackFaultAway: the coordinator is killed as soon as the switches are ready, and is
// away until the agent has imaged all servers by itself. Meanwhile the network card of one
// is dead until its power is taken away: its firmware never asks to boot, until it is
// power-cycled. At that moment the agent is killed, and started again: the depot that its
// images came from is away. In the end the coordinator has everything; by it a server is
// imaged anew, while all others run.
func TestRackFaultAway(t *testing.T) {
	r := newLabRack(t)
	const dead = "server-01"
	r.nodes[dead].silent = 1
	r.rewrite("platform: linux-server", "platform: lab-impatient")
	c := newCenter(t, r.stock, r.dir, r)
	c.start()
	r.powerUp()
	agent := c.agent(r)
	c.says(`(?m)^r4 .* connected`, "status")
	c.must("apply", r.file, "--bundle", r.stock.bundle, "--detach")
	for _, s := range slices.Concat(r.named("mgmt-"), r.named("tor-")) {
		agent.await(2*rackLimit, `"device-ready"`, `"`+s+`"`)
	}
	c.kill()
	killed := time.Now()
	t.Logf("%6.1f s  the coordinator is killed", time.Since(r.began).Seconds())

	agent.await(2*rackLimit, `"step-failed"`, `"`+dead+`"`, `"network-boot"`)
	if err := agent.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-agent.ended
	t.Logf("%6.1f s  the agent is killed", time.Since(r.began).Seconds())
	agent = r.image("agent", "--rack", "r4", "--bundle", "depot", "--hear", "1s", "--json")
	agent.await(2*rackLimit, `"rack-completed"`)
	if !strings.Contains(agent.String(), "the images are those that were fetched before") {
		t.Errorf("the agent that was started again does not say where its images are from:\n%s", agent)
	}
	if out, code := c.ask("status", "r4"); code == exitReady {
		t.Errorf("the coordinator is not away, and says:\n%s", out)
	}
	events := r.events()
	r.judgeOrder(events)
	for _, e := range events {
		if strings.HasPrefix(e.Device, "server") && e.Event == "ticket-issued" && e.Time.Before(killed) {
			t.Errorf("%s had its ticket before the coordinator was killed", e.Device)
		}
	}
	for _, s := range r.named("server-") {
		if when(events, s, "device-ready", "").IsZero() {
			out, _ := r.ask("why", s)
			t.Errorf("%s was never ready:\n%s", s, out)
		}
	}
	r.judgeCycles(dead, events)
	r.judgeSystems()

	c.start()
	theirs := journalLines(c.says(`"rack-completed"`, "events", "r4", "--json"))
	out, _ := r.ask("events", "r4", "--json")
	if ours := journalLines(out); !slices.Equal(ours, theirs) {
		t.Errorf("the agent tells %d events, the coordinator %d, and they are not the same", len(ours), len(theirs))
	}
	for i, e := range parseEvents(strings.Join(theirs, "")) {
		if e.Seq != i+1 {
			t.Errorf("event %d of the coordinator has the number %d", i+1, e.Seq)
			break
		}
	}
	if out := c.must("status", "r4"); !strings.Contains(out, "rack r4  completed  100%") {
		t.Errorf("the coordinator's status says:\n%s", out)
	}
	for who, ask := range map[string]func(...string) (string, int){"coordinator": c.ask, "agent": r.ask} {
		if out, code := ask("verify", "r4"); code != 0 {
			t.Errorf("verify of the %s ended with %d and says:\n%s", who, code, out)
		}
	}

	r.judgeReimage("server-02", agent, func() {
		c.must("reimage", "r4/server-02", "--yes", "--reason", "a new life")
		c.must("resume", "r4")
	})
	c.says("rack r4  completed  100%", "status", "r4")
	if out, code := r.ask("verify", "r4"); code != 0 {
		t.Errorf("verify ended with %d after a server was imaged anew, and says:\n%s", code, out)
	}
}

// judgeCycles: a server whose firmware was silent was powered off and on again by its BMC,
// and no other server was.
func (r *labRack) judgeCycles(dead string, events []event) {
	r.t.Helper()
	ons := map[string]int{}
	r.mu.Lock()
	for _, n := range r.notes {
		if n.What == "BMC: set power 1" {
			ons[n.Who]++
		}
	}
	r.mu.Unlock()
	for _, s := range r.named("server-") {
		want := 1
		if s == dead {
			want = 2
		}
		if ons[s] != want {
			r.t.Errorf("the BMC of %s switched power on %d times, want %d", s, ons[s], want)
		}
	}
	failed := 0
	for _, e := range events {
		switch {
		case e.Event != "step-failed" || !strings.HasPrefix(e.Device, "server"):
		case e.Device == dead && e.Detail.Step == "network-boot":
			failed++
		default:
			r.t.Errorf("step %s of %s failed, event %d", e.Detail.Step, e.Device, e.Seq)
		}
	}
	if failed != 1 {
		r.t.Errorf("%s was given up at its network boot %d times, want 1", dead, failed)
	}
}

// named are the machines whose names begin so.
func (r *labRack) named(begin string) (out []string) {
	for name := range r.nodes {
		if strings.HasPrefix(name, begin) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// rewrite changes the rack file of this rack.
func (r *labRack) rewrite(old, by string) {
	r.t.Helper()
	b, err := os.ReadFile(r.file)
	if err == nil && !strings.Contains(string(b), old) {
		r.t.Fatalf("the rack file has no %q", old)
	}
	if err == nil {
		err = os.WriteFile(r.file, []byte(strings.Replace(string(b), old, by, 1)), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
