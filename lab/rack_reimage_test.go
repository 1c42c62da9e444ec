//go:build lab

package lab

import (
	"bytes"
	"strings"
	"sync"
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

// bootIDs are those of the kernels that run on devices, all asked over SSH at once.
func (r *labRack) bootIDs(devices []string) map[string]string {
	r.t.Helper()
	out := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, d := range devices {
		all.Go(func() {
			id, _, err := r.login(d, "cat /proc/sys/kernel/random/boot_id")
			if err != nil || len(strings.TrimSpace(id)) != 36 {
				r.t.Errorf("%s does not run: %q, %v", d, id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			out[d] = id
		})
	}
	all.Wait()
	return out
}

// judgeReimage has a server of a rack that is completed imaged anew, as somebody orders.
// All others run, before it, while its disk is written, and afterwards: they are logged in
// to, and none was started anew.
func (r *labRack) judgeReimage(name string, agent *life, order func()) {
	r.t.Helper()
	id, key, err := r.login(name, "cat /etc/machine-id")
	if err != nil {
		r.t.Fatal(err)
	}
	n, others := r.nodes[name], r.others(name)
	before := r.bootIDs(others)
	starts := map[string]int{}
	for _, d := range others {
		starts[d] = r.nodes[d].starts()
	}
	const writes, installed = "rackreach: writing ", "rackreach: installed"
	written, ends, ready := strings.Count(n.text(), writes), strings.Count(n.text(), installed), agent.count(`"device-ready"`, `"`+name+`"`)

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
	if strings.Count(n.text(), installed) > ends {
		r.t.Errorf("%s was written before all others had answered", name)
	}
	await(r.t, 2*rackLimit, name+" is ready anew", func() bool { return agent.count(`"device-ready"`, `"`+name+`"`) > ready })
	r.t.Logf("%6.1f s  %s is ready anew", time.Since(r.began).Seconds(), name)
	same("afterwards")
	if now, newKey, err := r.login(name, "cat /etc/machine-id"); err != nil || len(now) < 32 || now == id || bytes.Equal(newKey, key) {
		r.t.Errorf("%s is who it was: %q, %v", name, now, err)
	}
	for _, d := range others {
		if r.nodes[d].starts() != starts[d] {
			r.t.Errorf("%s was started anew, too", d)
		}
	}
	r.judgeSystems()
}
