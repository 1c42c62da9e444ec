//go:build lab

package lab

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJudgeCables: a switch with a port to the agent and two inside ones is configured in
// the tenth second of a made-up run.
func TestJudgeCables(t *testing.T) {
	const (
		own, own2 = "02:a1:04:00:00:30", "02:a1:04:00:00:01"
		agent     = "3e:00:00:00:00:01"
		tor       = "02:b1:04:00:00:00"
		bmc       = "5a:00:00:00:00:01"
		stranger  = "5a:00:00:00:00:02"
	)
	outside := []sent{{own, after(1)}, {agent, after(1)}, {tor, after(12)}}
	toBMC := []sent{{own2, after(2)}, {bmc, after(3)}, {agent, after(13)}}
	toToR := []sent{{tor, after(2)}, {agent, after(11)}}
	with := func(frames []sent, more ...sent) []sent { return append(append([]sent{}, frames...), more...) }
	none := func(frames []sent, mac string) (out []sent) {
		for _, f := range frames {
			if f.mac != mac {
				out = append(out, f)
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		outside, toBMC, toToR []sent
		opened                time.Time
		want                  string
	}{
		"a good run":                      {outside, toBMC, toToR, after(10), ""},
		"within the clock's slack":        {outside, with(toBMC, sent{agent, after(9)}), toToR, after(10), ""},
		"in to a BMC":                     {outside, with(toBMC, sent{agent, after(4)}), toToR, after(10), "a frame of " + agent + " on the cable of mgmt-1:swp1, 6s before"},
		"from port to port":               {outside, with(toBMC, sent{tor, after(5)}), toToR, after(10), "a frame of " + tor + " on the cable of mgmt-1:swp1"},
		"on a BMC's cable, of nobody":     {outside, with(toBMC, sent{stranger, after(5)}), toToR, after(10), "a frame of " + stranger + " on the cable of mgmt-1:swp1"},
		"a ToR's frame, out to the agent": {with(outside, sent{tor, after(2)}), toBMC, toToR, after(10), "a frame of " + tor + " on the cable of mgmt-1:swp48, 8s before"},
		"a BMC's frame, out to the agent": {with(outside, sent{bmc, after(3)}), toBMC, toToR, after(10), "a frame of " + bmc + " on the cable of mgmt-1:swp48"},
		"nothing passes to a ToR":         {outside, toBMC, none(toToR, agent), after(10), "the recordings at mgmt-1:swp45 show nothing that passed"},
		"it passes too soon, and no more": {outside, toBMC, with(none(toToR, agent), sent{agent, after(9)}), after(10), "the recordings at mgmt-1:swp45 show nothing that passed"},
		"nothing passes out":              {none(outside, tor), toBMC, toToR, after(10), "the recordings at mgmt-1:swp48 show nothing that passed"},
		"the step has another name":       {outside, toBMC, toToR, time.Time{}, "does not say when mgmt-1 was configured"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			behind := macs{tor: true, bmc: true}
			file := func(name string, frames []sent) []string {
				return []string{writePcap(t, filepath.Join(dir, name), frames...)}
			}
			views := []portView{
				{name: "mgmt-1:swp48", files: file("48", c.outside), outside: true, ends: macs{own: true}, behind: behind, group: "swp48"},
				{name: "mgmt-1:swp1", files: file("1", c.toBMC), ends: macs{own: true, own2: true, bmc: true}, behind: behind, group: "swp1"},
				{name: "mgmt-1:swp45", files: file("45", c.toToR), ends: macs{own: true, own2: true, tor: true}, behind: behind, group: "swp45"},
			}
			err := judgePorts("mgmt-1", views, c.opened)
			if (err != nil) != (c.want != "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("it is said: %v\nwant %q, and no more", err, c.want)
			}
		})
	}
	if err := judgePorts("mgmt-1", []portView{{name: "mgmt-1:swp1"}}, after(1)); err == nil || !strings.Contains(err.Error(), "no recording of mgmt-1:swp1") {
		t.Errorf("of a port without recordings it is said: %v", err)
	}
}

// TestJudgeViews: of the rack as it is cabled, whom each port is held against.
func TestJudgeViews(t *testing.T) {
	r := &labRack{layout: single, t: t, nodes: map[string]*node{}, bmcs: map[string]string{"server-01.bmc": "5a:00:00:00:00:01"}}
	stand := func(name, mac string) *node {
		n := &node{name: name, mac: mac}
		r.nodes[name] = n
		return n
	}
	mgmt, tor, server := stand("mgmt-1", "02:a1:04:00:00"), stand("tor-1", "02:b1:04:00:00"), stand("server-01", "02:c1:04:00:00")
	mgmt.plug(r, 48, "agent", true)
	mgmt.plug(r, 1, "server-01.bmc", false)
	mgmt.plug(r, 45, "tor-1.eth0", false)
	tor.plug(r, 0, "mgmt-1.swp45", false)
	tor.plug(r, 1, "server-01.eth0", false)
	server.attach(r, "eth0", "tor-1.swp1", 1, true)
	byName := map[string]portView{}
	for _, s := range []string{"mgmt-1", "tor-1"} {
		views, err := r.views(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range views {
			byName[v.name] = v
		}
	}
	if v := byName["mgmt-1:swp48"]; !v.outside || !v.behind["02:b1:04:00:00:00"] || !v.behind["5a:00:00:00:00:01"] || !v.behind["02:c1:04:00:00:01"] || v.behind["02:a1:04:00:00:01"] {
		t.Errorf("the agent's port: %+v", v)
	}
	if v := byName["mgmt-1:swp1"]; v.outside || len(v.ends) != 4 || !v.ends["5a:00:00:00:00:01"] {
		t.Errorf("a BMC's port: %+v", v)
	}
	if v := byName["tor-1:eth0"]; !v.outside || len(v.behind) != 1 || !v.behind["02:c1:04:00:00:01"] {
		t.Errorf("a ToR switch's management port: %+v", v)
	}
	if v := byName["tor-1:swp1"]; v.outside || len(v.ends) != 3 || !v.ends["02:c1:04:00:00:01"] {
		t.Errorf("a server's port: %+v", v)
	}
}
