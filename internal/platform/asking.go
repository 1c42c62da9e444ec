package platform

import (
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// ask reads how a switch is asked for its neighbours or its MAC table; nil: it is not.
func (r *reader) ask(key string, formats []string) *rack.Ask {
	n, ok := r.keys[key]
	if !ok {
		return nil
	}
	const fix = `one of ssh: {run: a command, format: one} and snmp: {community: "env:NAME"}`
	m := r.Mapping(n, key, "ssh", "snmp")
	if m == nil {
		return nil
	}
	if len(m) != 1 {
		r.Say(n.Line, fix, "%s has not one way to ask", key)
		return nil
	}
	a := &rack.Ask{}
	if x, ok := m["ssh"]; ok {
		r.askOver(x, key, formats, a)
		return a
	}
	s := r.Mapping(m["snmp"], "snmp of "+key, "community")
	const reference = `community: "env:NAME", file:/PATH or age:/PATH`
	x, ok := s["community"]
	if !ok {
		r.Say(n.Line, reference, "snmp of %s names no community", key)
		return a
	}
	if text, ok := r.Scalar(x, "community", reference); ok {
		if a.Community = text; !isReference(text) {
			r.Say(x.Line, reference, "community is no reference: a secret does not stand in a platform")
		}
	}
	return a
}

func isReference(s string) bool {
	_, _, ok := rack.Reference(s)
	return ok
}

func (r *reader) askOver(n *yaml.Node, key string, formats []string, a *rack.Ask) {
	m := r.Mapping(n, "ssh of "+key, "run", "format")
	if m == nil {
		return
	}
	const run = "run: and the command that shows it"
	if x, ok := m["run"]; !ok {
		r.Say(n.Line, run, "%s says nothing to the device", key)
	} else if s, ok := r.Scalar(x, "run", run); ok {
		if a.Run = s; strings.TrimSpace(s) == "" || len(s) > maxCommand || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
			r.Say(x.Line, run, "%s is no command", strictyaml.Shown(s))
		}
	}
	format := "format: one of " + strings.Join(formats, ", ")
	if x, ok := m["format"]; !ok {
		r.Say(n.Line, format, "%s does not say what the device answers in", key)
	} else if s, ok := r.Scalar(x, "format", format); ok {
		if a.Format = s; !slices.Contains(formats, s) {
			r.Say(x.Line, format, "nothing reads %s of %s", strictyaml.Shown(s), key)
		}
	}
}
