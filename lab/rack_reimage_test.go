//go:build lab

package lab

import (
	"strings"
	"time"
)

// others are all devices but one.
func (r *labRack) others(than string) (out []string) {
	for _, d := range r.devices() {
		if d != than {
			out = append(out, d)
		}
	}
	return out
}

// bootIDs are those of the kernels that run on devices, each asked over SSH.
func (r *labRack) bootIDs(devices []string) map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for _, d := range devices {
		id, _, err := r.login(d, "cat /proc/sys/kernel/random/boot_id")
		if err != nil || len(strings.TrimSpace(id)) != 36 {
			r.t.Errorf("%s does not run: %q, %v", d, id, err)
		}
		out[d] = id
	}
	return out
}

// judgeReimage has a server of a rack that is completed imaged anew, as somebody orders.
// All others run, before it, while its disk is written, and afterwards: they are logged in
// to, and none was started anew.
func (r *labRack) judgeReimage(name string, agent *life, order func()) {
	r.t.Helper()
	id, _, err := r.login(name, "cat /etc/machine-id")
	if err != nil {
		r.t.Fatal(err)
	}
	n, others := r.nodes[name], r.others(name)
	before := r.bootIDs(others)
	starts := map[string]int{}
	for _, d := range others {
		starts[d] = r.nodes[d].starts()
	}
	const writes = "rackreach: writing "
	written, ready := strings.Count(n.text(), writes), agent.count(`"device-ready"`, `"`+name+`"`)

	order()
	await(r.t, 2*rackLimit, "the disk of "+name+" is written anew", func() bool { return strings.Count(n.text(), writes) > written })
	same := func(when string) {
		for d, id := range r.bootIDs(others) {
			if id != before[d] {
				r.t.Errorf("%s, %s is not the system that it was", when, d)
			}
		}
	}
	same("while " + name + " is written")
	await(r.t, 2*rackLimit, name+" is ready anew", func() bool { return agent.count(`"device-ready"`, `"`+name+`"`) > ready })
	r.t.Logf("%6.1f s  %s is ready anew", time.Since(r.began).Seconds(), name)
	same("afterwards")
	if now, _, err := r.login(name, "cat /etc/machine-id"); err != nil || len(now) < 32 || now == id {
		r.t.Errorf("%s is who it was: %q, %v", name, now, err)
	}
	for _, d := range others {
		if r.nodes[d].starts() != starts[d] {
			r.t.Errorf("%s was started anew, too", d)
		}
	}
	r.judgeSystems()
}
