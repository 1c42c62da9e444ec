//go:build netns

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/nstest"
)

// preflight runs it and returns its checks by name.
func (w *onWire) preflight(env string, args ...string) (map[string][]rackagent.Check, int) {
	w.t.Helper()
	cmd := w.command(append([]string{"preflight", w.file, "-o", "json", "--hear", "1s"}, args...)...)
	if env != "" {
		cmd.Env = append(cmd.Env, "RACK_BMC="+env)
	}
	var out []byte
	w.agent.Do(func() { out, _ = cmd.Output() })
	var got struct {
		OK     bool
		Checks []rackagent.Check
	}
	if err := json.Unmarshal(out, &got); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	code := cmd.ProcessState.ExitCode()
	if got.OK != (code == 0) {
		w.t.Errorf("ok is %v, and it ended with %d", got.OK, code)
	}
	checks := map[string][]rackagent.Check{}
	for _, c := range got.Checks {
		if c.Result != rackagent.CheckOK && c.Next == "" {
			w.t.Errorf("nothing to do about %+v", c)
		}
		checks[c.Name] = append(checks[c.Name], c)
	}
	return checks, code
}

func (w *onWire) is(checks map[string][]rackagent.Check, name string, want rackagent.CheckResult, text string) {
	w.t.Helper()
	for _, c := range checks[name] {
		if c.Result == want && strings.Contains(c.Text, text) {
			return
		}
	}
	w.t.Errorf("%s: %+v, want %s %q", name, checks[name], want, text)
}

func TestPreflightInNamespaces(t *testing.T) {
	w := newOnWire(t)
	w.devices.Address("rr0", "192.168.104.100/24")
	w.devices.BMC("192.168.104.100", [16]byte{0xba, 0xdd}, false)
	checks, code := w.preflight("admin:" + nstest.Password)
	if code != 0 {
		t.Errorf("it ended with %d: %+v", code, checks)
	}
	for _, c := range []struct{ name, text string }{
		{"capabilities", ""}, {"interface", "rr0 has a link, and the address 192.168.104.254"}, {"port udp/67", "free for DHCP"}, {"port udp/69", "free for TFTP"}, {"port tcp/80", "free for HTTP"}, {"port udp/514", "free for the logs of devices"},
		{"state directory", "GiB left"}, {"other DHCP servers", "none was heard within 1s"}, {"management BMC", "let us in: GUID badd0000000000000000000000000000, maker 674"},
	} {
		w.is(checks, c.name, rackagent.CheckOK, c.text)
	}
	if len(checks["clock"]) != 1 || checks["clock"][0].Result == rackagent.CheckProblem {
		t.Errorf("%+v", checks["clock"])
	}
}

func TestPreflightNamesProblems(t *testing.T) {
	w := newOnWire(t)
	w.udhcpd()
	w.devices.Address("rr0", "192.168.104.100/24")
	w.devices.BMC("192.168.104.100", [16]byte{}, false)
	w.agent.Default("rr0", "192.168.104.253")
	checks, code := w.preflight("admin:wrong", "--hear", "5s", "--state", "/proc/nowhere")
	if code != exitError {
		t.Errorf("it ended with %d", code)
	}
	w.is(checks, "interface", rackagent.CheckProblem, "interface rr0 leads out: the default route by 192.168.104.253")
	w.is(checks, "other DHCP servers", rackagent.CheckProblem, "192.168.104.77 (MAC 02:5e:10:00:01:01), which offered")
	w.is(checks, "management BMC", rackagent.CheckProblem, "refused the login")
	w.is(checks, "state directory", rackagent.CheckProblem, "/proc/nowhere cannot be written")
	// What an operator allows is told, and is no problem.
	checks, _ = w.preflight("", "--hear", "5s", "--allow", "rr0")
	w.is(checks, "interface", rackagent.CheckNote, "leads out")
	w.is(checks, "other DHCP servers", rackagent.CheckNote, "192.168.104.77")
	w.is(checks, "management BMC", rackagent.CheckProblem, "the variable RACK_BMC is not set")
}

func TestPreflightNamesHolders(t *testing.T) {
	w := newOnWire(t)
	w.start("discover", w.file, "--hear", "1s").await(rackagent.NoticeService, "is served on")
	checks, code := w.preflight("admin:" + nstest.Password)
	w.is(checks, "port udp/67", rackagent.CheckProblem, "is served by rackreach (process ")
	w.is(checks, "management BMC", rackagent.CheckNote, "no answer")
	if code != exitError {
		t.Errorf("it ended with %d", code)
	}
	w.devices.Up("rr0", false)
	checks, _ = w.preflight("admin:" + nstest.Password)
	w.is(checks, "interface", rackagent.CheckProblem, "interface rr0 has no link")
}

// A program at another address of this machine is in the way, too: the agent opens its ports
// at all of them. Without the logs of devices a rack is imaged all the same.
func TestPreflightNamesHoldersElsewhere(t *testing.T) {
	w := newOnWire(t)
	w.devices.Address("rr0", "192.168.104.100/24")
	w.devices.BMC("192.168.104.100", [16]byte{}, false)
	checks, _ := w.preflight("admin:secret")
	w.is(checks, "port tcp/80", rackagent.CheckOK, "free for HTTP")
	var held []io.Closer
	w.agent.Do(func() {
		for _, port := range []string{"69", "514"} {
			c, err := net.ListenPacket("udp4", "127.0.0.1:"+port)
			if err != nil {
				t.Error(err)
				return
			}
			held = append(held, c)
		}
		l, err := net.Listen("tcp4", "127.0.0.1:80")
		if err != nil {
			t.Error(err)
			return
		}
		held = append(held, l)
	})
	defer func() {
		for _, c := range held {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	checks, code := w.preflight("admin:secret")
	if code != exitError {
		t.Errorf("it ended with %d", code)
	}
	self := fmt.Sprintf("(process %d)", os.Getpid())
	w.is(checks, "port udp/67", rackagent.CheckOK, "free for DHCP")
	w.is(checks, "port udp/69", rackagent.CheckProblem, "TFTP needs it, and it is held by ")
	w.is(checks, "port udp/69", rackagent.CheckProblem, self)
	w.is(checks, "port tcp/80", rackagent.CheckProblem, "HTTP needs it, and it is held by ")
	w.is(checks, "port udp/514", rackagent.CheckNote, "the logs of devices want it, and it is held by ")
	w.is(checks, "port udp/514", rackagent.CheckNote, self)
}

// Without rights it says which.
func TestPreflightWithoutRights(t *testing.T) {
	w := newOnWire(t)
	w.under = []string{"setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"}
	out, code := w.try("preflight", w.file, "--hear", "1s")
	if code != exitError {
		t.Errorf("it ended with %d", code)
	}
	for _, want := range []string{"problem  capabilities        this process lacks CAP_NET_RAW (frames) and CAP_NET_BIND_SERVICE (ports 67, 69 and 80)", "problem  other DHCP servers", "problem  port udp/69"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}
