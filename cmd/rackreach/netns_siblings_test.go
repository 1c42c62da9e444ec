//go:build netns

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/nstest"
)

// twoRacks is two real racks on one segment, a coordinator beside them, and a machine that
// is the management switch of either.
type twoRacks struct {
	*site
	dir    string // of files
	client *host
	racks  map[string]*joinedRack
}

// joinedRack is one of them, by its agent.
type joinedRack struct {
	j               *twoRacks
	name, file      string
	address, device string // of the agent; MAC of the switch
	host            *host
	agent           *process
}

// join makes both racks, and applies them.
func join(t *testing.T) *twoRacks {
	t.Helper()
	nstest.Needs(t, "busybox", "busybox")
	nstest.Needs(t, "curl", "curl")
	t.Setenv("RACK_BMC", "admin:"+nstest.Password)
	t.Setenv("RACK_SSH", "root:"+nstest.Password)
	j := &twoRacks{site: newCenter(t), dir: t.TempDir(), racks: map[string]*joinedRack{}}
	j.found(0, "")
	if err := errors.Join(os.Mkdir(j.dir+"/platforms", 0o700), os.WriteFile(j.dir+"/platforms/bench.yaml", []byte(applyPlatform), 0o600), os.WriteFile(j.dir+"/nos", []byte("a network operating system\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	j.center.run("bundle", "init", j.dir+"/images")
	j.center.run("bundle", "add", j.dir+"/images", "--release", "1", "--kind", "kernel", "--name", "nos", j.dir+"/nos")
	j.client = j.host("box", "10.99.0.30")
	for n := 4; n <= 5; n++ {
		r := &joinedRack{j: j, name: fmt.Sprintf("r%d", n), address: fmt.Sprintf("192.168.10%d.254", n), device: fmt.Sprintf("02:5e:10:00:0%d:01", n)}
		r.file = filepath.Join(j.dir, r.name+".yaml")
		text := strings.NewReplacer("name: r4", "name: "+r.name, "number: 4", fmt.Sprintf("number: %d", n), "192.168.104.", fmt.Sprintf("192.168.10%d.", n), "10.0.4.", fmt.Sprintf("10.0.%d.", n),
			"interface: rr0}", "interface: eth0}\ninventory: "+r.name+".csv").Replace(applyRack)
		j.write(r.file, text)
		j.write(filepath.Join(j.dir, r.name+".csv"), "slot,mac,serial\nmgmt-1,"+r.device+",\n")
		r.host = j.host(r.name, fmt.Sprintf(nsRack, 10+n))
		j.ip("-n", r.host.in, "addr", "add", r.address+"/24", "dev", "eth0")
		r.start("--token", strings.TrimSpace(string(j.center.run("enroll", "--rack", r.name))))
		j.center.run("apply", r.file, "--platforms", j.dir+"/platforms", "--bundle", j.dir+"/images", "--allow-unsigned", "--detach")
		r.serves()
		j.racks[r.name] = r
	}
	return j
}

// start starts the rack's agent.
func (r *joinedRack) start(flags ...string) {
	r.j.t.Helper()
	r.agent = r.host.start(r.j.binary, append([]string{"agent", "--rack", r.name, "--hear", "3s", "--bundle", r.j.dir + "/images", "--allow-unsigned"}, flags...)...)
}

// serves waits until it serves DHCP.
func (r *joinedRack) serves() {
	r.j.t.Helper()
	r.j.until(nsSoon, "the agent of "+r.name+" serves DHCP", func() bool { return r.host.listens(r.agent) })
}

// siblings is the file that it keeps them in.
func (r *joinedRack) siblings() string {
	return filepath.Join(string(r.host.home.Rack(r.name)), "siblings")
}

// overheard is how many messages of other servers it has counted, of one kind.
func (r *joinedRack) overheard(allowed string) string {
	r.j.t.Helper()
	_, rest, _ := strings.Cut(r.agent.out.String(), "metrics: ")
	url, _, _ := strings.Cut(rest, "\n")
	out, err := r.host.command(context.Background(), "curl", "-s", "--max-time", "5", url).Output()
	if err != nil {
		return ""
	}
	_, rest, _ = strings.Cut(string(out), fmt.Sprintf("rackreach_dhcp_foreign_messages_total{allowed=%q,rack=%q} ", allowed, r.name))
	n, _, _ := strings.Cut(rest, "\n")
	return n
}

// asks lets the switch of the rack ask for an address again and again; its answers are
// broadcast. It ends when the process is killed.
func (r *joinedRack) asks() *process {
	r.j.t.Helper()
	r.j.ip("-n", r.j.client.in, "link", "set", "eth0", "address", r.device)
	return r.j.client.start("sh", "-c", "while :; do busybox udhcpc -B -f -n -q -i eth0 -s /bin/true -t 1 -T 1 -V "+pxeClass+"; sleep 0.2; done")
}

// TestSiblingsInNamespaces: agents of two racks on one segment hear each other's offers.
// By the word of their coordinator that is no alarm, also for one that is started again
// while the coordinator is away; without that word it is.
func TestSiblingsInNamespaces(t *testing.T) {
	j := join(t)
	one, two := j.racks["r4"], j.racks["r5"]
	for r, other := range map[*joinedRack]*joinedRack{one: two, two: one} {
		j.until(nsSoon, r.name+" knows its sibling", func() bool {
			b, err := os.ReadFile(r.siblings())
			return err == nil && strings.Contains(string(b), `"`+other.address+`"`)
		})
	}
	quiet := func(r *joinedRack) {
		t.Helper()
		if out := r.agent.out.String(); r.overheard("no") != "0" || strings.Contains(out, "DHCP SERVER") {
			t.Errorf("the agent of %s is alarmed by its sibling:\n%s", r.name, out)
		}
	}
	for r, other := range map[*joinedRack]*joinedRack{one: two, two: one} {
		asking := r.asks()
		j.until(nsSoon, other.name+" has heard "+r.name, func() bool { n := other.overheard("sibling"); return n != "0" && n != "" })
		asking.kill()
		quiet(other)
		if !strings.Contains(asking.out.String(), "obtained from "+r.address) && !strings.Contains(asking.out.String(), "server "+r.address) {
			t.Errorf("the switch of %s was answered by nobody of its own:\n%s", r.name, asking.out.String())
		}
		if strings.Contains(asking.out.String(), other.address) {
			t.Errorf("the switch of %s was answered by %s:\n%s", r.name, other.name, asking.out.String())
		}
	}

	j.coordinator.kill()
	two.agent.kill()
	asking := one.asks()
	two.start()
	two.serves()
	j.until(nsSoon, "r5 has heard r4", func() bool { n := two.overheard("sibling"); return n != "0" && n != "" })
	quiet(two)
	asking.kill()

	// Nobody's word.
	two.agent.kill()
	if err := os.Remove(two.siblings()); err != nil {
		t.Fatal(err)
	}
	two.start()
	two.serves()
	asking = one.asks()
	two.agent.says("ANOTHER DHCP SERVER: " + one.address)
	two.agent.kill()
	two.start()
	out, code := two.agent.wait(nsSoon)
	if code != exitError || !strings.Contains(out, "another DHCP server is on the segment of interface eth0: "+one.address) {
		t.Errorf("it ended with %d and said:\n%s", code, out)
	}
	asking.kill()
}
