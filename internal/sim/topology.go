package sim

import (
	"crypto/sha256"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// plug is one side of a cable between two switches. The rack file does not name
// the port by which a switch's own uplink leaves it: that side has an uplink
// number instead, and belongs to every configuration.
type plug struct {
	port   rack.Port
	uplink int // from 1; 0: a named port
}

// topology is which cables there are. It does not change.
type topology struct {
	agent   rack.Port     // the agent's port
	cables  map[plug]plug // between switches, both ways
	uplinks map[string][]plug
}

func newTopology(r *rack.Rack) topology {
	t := topology{agent: r.Agent.Cable, cables: map[plug]plug{}, uplinks: map[string][]plug{}}
	join := func(a, b plug) { t.cables[a], t.cables[b] = b, a }
	for i := range r.Devices {
		d := &r.Devices[i]
		if !d.Role.IsSwitch() {
			continue
		}
		for n, p := range d.Data {
			up := plug{rack.Port{Device: d.Name}, n + 1}
			t.uplinks[d.Name] = append(t.uplinks[d.Name], up)
			join(plug{port: p}, up)
		}
	}
	for _, l := range r.Links {
		if !l.A.IsOutside() && !l.B.IsOutside() {
			join(plug{port: l.A}, plug{port: l.B})
		}
	}
	return t
}

// paths finds the shortest path of forwarding switches from the agent to every
// port that one leads to. state says between which ports a switch forwards.
func (t topology) paths(state func(device string) (ports []string, forwarding bool)) map[rack.Port][]hop {
	type arrival struct {
		at   plug
		hops []hop
	}
	out := map[rack.Port][]hop{}
	visited := map[string]bool{}
	for queue := []arrival{{at: plug{port: t.agent}}}; len(queue) > 0; queue = queue[1:] {
		a := queue[0]
		device := a.at.port.Device
		ports, forwarding := state(device)
		if visited[device] || !forwarding {
			continue
		}
		leave := make([]plug, 0, len(ports)+len(t.uplinks[device]))
		for _, p := range ports {
			leave = append(leave, plug{port: rack.Port{Device: device, Name: p}})
		}
		leave = append(leave, t.uplinks[device]...)
		if !contains(leave, a.at) {
			continue // it arrives at a port that this switch does not serve
		}
		visited[device] = true
		for _, p := range leave {
			if p == a.at {
				continue
			}
			hops := append(append(make([]hop, 0, len(a.hops)+1), a.hops...), hop{device, p.port.Name})
			if p.uplink == 0 {
				out[p.port] = hops
			}
			if next, ok := t.cables[p]; ok {
				queue = append(queue, arrival{next, hops})
			}
		}
	}
	return out
}

func contains(list []plug, p plug) bool {
	for _, x := range list {
		if x == p {
			return true
		}
	}
	return false
}

func digestOf(words ...string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(words, "\x00")))
}
