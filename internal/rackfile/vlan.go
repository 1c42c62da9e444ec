package rackfile

import (
	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

var vlanKeys = []string{"name", "id", "untagged", "tagged"}

// vlans reads the list of VLANs.
func (r *reader) vlans(n *yaml.Node, f *file) {
	switch {
	case !r.usable(n, "vlans"):
		f.lost = true
		return
	case n.Kind != yaml.SequenceNode:
		r.say(n.Line, "vlans: [{name: provisioning, id: 100, untagged: [agent, bmc, management, uplink, server]}]", "vlans is not a list")
		f.lost = true
		return
	case len(n.Content) > rack.MaxVLANs:
		r.say(n.Line, "those that the switches of this rack keep apart", "the rack has %d VLANs, more than %d", len(n.Content), rack.MaxVLANs)
		f.lost = true
		return
	}
	for _, item := range n.Content {
		at := newPlace(item.Line)
		m := r.mapping(item, at, "", "the VLAN", vlanKeys...)
		if m == nil {
			f.lost = true
			continue
		}
		r.require(m, at, "", "name", "name: and the VLAN's name, such as provisioning")
		r.require(m, at, "", "id", "id: and the VLAN's number, from 1 to 4094")
		f.rack.VLANs = append(f.rack.VLANs, rack.VLAN{Name: r.text(m, at, "", "name"), ID: r.integer(m, at, "id"),
			Untagged: r.portRoles(m, at, "untagged"), Tagged: r.portRoles(m, at, "tagged")})
		f.vlans = append(f.vlans, at)
	}
}

// portRoles reads a list of what ports are for.
func (r *reader) portRoles(m map[string]*yaml.Node, at *place, key string) (out []rack.PortRole) {
	n, ok := m[key]
	if !ok {
		return nil
	}
	if !r.usable(n, key) || n.Kind != yaml.SequenceNode || len(n.Content) > len(rack.PortRoles()) {
		if n.Kind != yaml.SequenceNode {
			r.say(n.Line, key+": [agent, bmc]", "%s is not a list of what ports are for", key)
		} else if len(n.Content) > len(rack.PortRoles()) {
			r.say(n.Line, "each once", "%s has %d of them, and there are %d", key, len(n.Content), len(rack.PortRoles()))
		}
		at.broken[key] = true
		return nil
	}
	for _, x := range n.Content {
		s, ok := r.scalar(x, key)
		if !ok {
			at.broken[key] = true
			continue
		}
		out = append(out, rack.PortRole(s))
	}
	return out
}
