package rackfile

import (
	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

var linkKeys = []string{"a", "b", "kind"}

// links reads the list of cables between switches and out of the rack.
func (r *reader) links(n *yaml.Node, f *file) {
	if !r.usable(n, "links") || n.Kind != yaml.SequenceNode {
		if n.Kind != yaml.SequenceNode {
			r.say(n.Line, "a list: each link begins with a hyphen", "links is not a list")
		}
		f.lost = true
		return
	}
	for _, item := range n.Content {
		r.link(item, f)
	}
}

func (r *reader) link(n *yaml.Node, f *file) {
	e := newEntry(n.Line)
	m := r.mapping(n, e.at, "", "the link", linkKeys...)
	if m == nil {
		f.lost = true
		return
	}
	r.require(m, e.at, "", "a", `a: "tor-1:49"`)
	r.require(m, e.at, "", "b", `b: "inter-rack-1:1"`)
	r.ranged(e, "a", r.text(m, e.at, "", "a"))
	r.ranged(e, "b", r.text(m, e.at, "", "b"))
	kind := rack.LinkKind(r.text(m, e.at, "", "kind"))
	if kind == "" {
		kind = rack.Trunk
	}
	r.inStep(e, "a")
	if len(f.rack.Links)+e.count > MaxLinks {
		r.say(e.at.line, "a rack file for each rack", "the rack has more than %d links", MaxLinks)
		f.lost = true
		return
	}
	for i := range e.count {
		f.rack.Links = append(f.rack.Links, rack.Link{A: r.portAt(e, "a", i), B: r.portAt(e, "b", i), Kind: kind})
		f.links = append(f.links, e.at)
	}
}
