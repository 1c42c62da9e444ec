//go:build netns

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdoptLooksForALivingAgent: an agent that its coordinator has lost serves its rack.
// Another machine takes that over neither while the agent is on, nor while another DHCP
// server is at work; and no epoch is used up by its attempts.
func TestAdoptLooksForALivingAgent(t *testing.T) {
	j := join(t)
	r := j.racks["r4"]
	j.ip("-n", r.host.in, "addr", "del", r.host.address+"/24", "dev", "eth0") // its way to the coordinator only
	j.until(nsSoon, "the coordinator calls the agent away", func() bool {
		return !looked(j.center.home.Coordinator(), r.name).GetAgent().GetConnected()
	})
	if !r.host.listens(r.agent) {
		t.Fatal("the agent does not live")
	}

	spare := j.host("spare", nsSpare)
	const own = "192.168.104.253"
	j.ip("-n", spare.in, "addr", "add", own+"/24", "dev", "eth0")
	adopts := func(flags ...string) *process {
		return spare.start(j.binary, append([]string{"agent", "--rack", r.name, "--adopt", "--hear", "3s", "--bundle", j.dir + "/images", "--allow-unsigned"}, flags...)...)
	}
	refused := func(p *process, texts ...string) {
		t.Helper()
		out, code := p.wait(nsSoon)
		for _, text := range append(texts, "Nothing was changed. Next: stop that one, then do this again; or give --force") {
			if code != exitInput || !strings.Contains(out, text) {
				t.Errorf("it ended with %d and did not say %q: %s", code, text, out)
			}
		}
		if racks, err := spare.home.Racks(); err != nil || len(racks) > 0 {
			t.Errorf("%v is there: %v", racks, err)
		}
	}
	mac := strings.Fields(j.ip("-n", r.host.in, "-br", "link", "show", "eth0"))[2]
	refused(adopts("--token", strings.TrimSpace(string(j.center.run("enroll", "--rack", r.name)))), fmt.Sprintf("MAC %s has the agent's address %s on interface eth0", mac, r.address))

	// It has the address that the lost one had: whose it is, is asked all the same.
	j.ip("-n", spare.in, "addr", "add", r.address+"/24", "dev", "eth0")
	refused(adopts(), fmt.Sprintf("MAC %s has the agent's address %s on interface eth0", mac, r.address))
	j.ip("-n", spare.in, "addr", "del", r.address+"/24", "dev", "eth0")

	// The agent is gone from the segment; somebody else's server is there.
	r.host.unplug()
	j.ip("-n", j.client.in, "addr", "flush", "dev", "eth0") // it names itself by the first address
	j.ip("-n", j.client.in, "addr", "add", "192.168.104.77/24", "dev", "eth0")
	config := filepath.Join(j.dir, "udhcpd.conf")
	text := fmt.Sprintf("start 192.168.104.50\nend 192.168.104.60\ninterface eth0\nlease_file %s/leases\npidfile %s/pid\n", j.dir, j.dir)
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(j.dir+"/leases", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	server := j.client.start("busybox", "udhcpd", "-f", "-S", config)
	j.until(nsSoon, "the other server serves", func() bool { return j.client.listens(server) })
	refused(adopts(), "a DHCP server is at work on interface eth0: 192.168.104.77", "--allow 192.168.104.77, if it may stay")
	server.kill()
	p := adopts()
	p.says("rack r4 is taken over: epoch 2")
	p.stop()

	// By the operator's word nobody is looked for.
	r.host.plug()
	third := j.host("third", "10.99.0.22")
	forced := third.start(j.binary, "agent", "--rack", r.name, "--adopt", "--force", "--hear", "3s", "--bundle", j.dir+"/images", "--allow-unsigned", "--token", strings.TrimSpace(string(j.center.run("enroll", "--rack", r.name))))
	forced.says("rack r4 is taken over: epoch 3")
}
