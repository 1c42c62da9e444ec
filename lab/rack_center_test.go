//go:build lab

package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// The coordinator's own network, to which the agents' hosts have a second interface.
const (
	centerAddress = "10.99.0.1"
	centerPort    = "7443"
)

// centerLimit is for an agent to find its coordinator and tell it everything.
const centerLimit = 2 * time.Minute

// center is a coordinator on a host of its own, with an authority of its own.
type center struct {
	t     *testing.T
	stock rackStock
	dir   string // its commands run in the folder site of it
	state string
	host  *nstest.Host
	racks []*labRack
	run   *life
}

// newCenter makes the host and the authority of a coordinator of these racks.
func newCenter(t *testing.T, stock rackStock, dir string, racks ...*labRack) *center {
	t.Helper()
	c := &center{t: t, stock: stock, dir: dir, state: filepath.Join(dir, "center"), host: nstest.New(t), racks: racks}
	var ports []string
	for i, r := range racks {
		port := fmt.Sprintf("rr%d", i+1)
		c.host.Cable(port, r.agent, "rr5")
		r.agent.Address("rr5", fmt.Sprintf("10.99.0.%d/24", 10+r.number))
		ports = append(ports, port)
	}
	c.host.Bridge("br0", ports...)
	c.host.Address("br0", centerAddress+"/24")
	stock.trusted(t, c.state)
	c.must("coordinator", "init", "--name", centerAddress)
	t.Cleanup(func() {
		if t.Failed() && c.run != nil {
			t.Logf("the coordinator said:\n%s", c.run)
		}
	})
	return c
}

// start starts the coordinator, again as well; its depot holds the images.
func (c *center) start() {
	c.t.Helper()
	c.run = c.racks[0].start(c.host, c.command("coordinator", "--listen", centerAddress+":"+centerPort, "--depot", c.stock.bundle))
	c.run.said.await(c.t, rackLimit, "coordinator, serving at")
}

// kill ends it as a power cut does.
func (c *center) kill() {
	c.t.Helper()
	if err := c.run.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-c.run.ended
}

// agent starts the agent of a rack, with a certificate that a token gets it, and images
// from the depot.
func (c *center) agent(r *labRack) *life {
	c.t.Helper()
	token := strings.TrimSpace(c.must("enroll", "--rack", r.name))
	return r.image("agent", "--rack", r.name, "--token", token, "--bundle", "depot", "--hear", "1s", "--json")
}

func (c *center) command(args ...string) *exec.Cmd { return c.stock.command(c.dir, c.state, args...) }

// ask runs a command on the coordinator's host to its end.
func (c *center) ask(args ...string) (string, int) {
	cmd := c.command(args...)
	var b []byte
	c.host.Do(func() { b, _ = cmd.CombinedOutput() })
	return string(b), cmd.ProcessState.ExitCode()
}

func (c *center) must(args ...string) string {
	c.t.Helper()
	out, code := c.ask(args...)
	if code != 0 {
		c.t.Fatalf("rackreach %s ended with %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// says asks until the answer is as wanted, and returns it.
func (c *center) says(wanted string, args ...string) (out string) {
	c.t.Helper()
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%s said last:\n%s", strings.Join(args, " "), out[max(0, len(out)-2000):])
		}
	}()
	ok := regexp.MustCompile(wanted)
	await(c.t, centerLimit, strings.Join(args, " ")+" says "+wanted, func() bool {
		out, _ = c.ask(args...)
		return ok.MatchString(out)
	})
	return out
}
