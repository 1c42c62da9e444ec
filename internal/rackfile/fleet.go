package rackfile

import (
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
)

const (
	fleetKind = "Fleet"
	// MaxRacks bounds the racks of one fleet file.
	MaxRacks = 5000
)

// Fleet is a fleet file, with the racks that it names.
type Fleet struct {
	Spec  fleet.Spec
	Racks []*rack.Rack // in the file's order
}

var (
	fleetKeys    = []string{"apiVersion", "kind", "name", "atOnce", "maxHalted", "defaults", "racks"}
	defaultKeys  = []string{"credentials", "platforms"}
	fleetRackKey = []string{"file"}
)

// defaults are what a rack file may leave out.
type defaults struct {
	credentials string
	platforms   map[string]string // by role
}

// IsFleet reports whether a file says that it is a fleet file. One that cannot be
// read is none.
func IsFleet(path string) bool {
	data, err := readBounded(path)
	if err != nil {
		return false
	}
	root, err := document(path, data)
	if err != nil || root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "kind" {
			return root.Content[i+1].Value == fleetKind
		}
	}
	return false
}

// ReadFleet reads a fleet file and the rack files that it names. Its error is of
// type Problems, with those of all files.
func ReadFleet(path string, platforms map[string]rack.Platform) (*Fleet, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, Problems{{File: path, What: unreadable(err), Fix: "the path of a fleet file, such as examples/fleet.yaml"}}
	}
	return ParseFleet(path, data, readBounded, platforms)
}

// ParseFleet reads a fleet file that is in memory; open gives the bytes of the
// files that it names. As Parse.
func ParseFleet(name string, data []byte, open func(path string) ([]byte, error), platforms map[string]rack.Platform) (*Fleet, error) {
	r := &reader{file: name}
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	f := &Fleet{}
	top := newPlace(root.Line)
	m := r.mapping(root, top, "", "the fleet file", fleetKeys...)
	if m == nil {
		return nil, r.problems
	}
	r.header(m, top, "apiVersion", apiVersion)
	r.header(m, top, "kind", fleetKind)
	r.require(m, top, "", "name", "name: and the fleet's name, such as row-4")
	if f.Spec.Name = r.text(m, top, "", "name"); f.Spec.Name != "" && !fleet.ValidName(f.Spec.Name) {
		r.say(top.find("name"), fleet.NameFix, "%s is not a name for a fleet", shown(f.Spec.Name))
	}
	f.Spec.AtOnce = r.count(m, top, "atOnce", "how many racks are imaged at once, from 1; without it all are")
	if n := r.count(m, top, "maxHalted", "how many racks may halt before no further one is begun, from 0; without it any number"); m["maxHalted"] != nil {
		f.Spec.HaltAfter = n + 1
	}
	if m["atOnce"] != nil && f.Spec.AtOnce == 0 && !top.isBroken("atOnce") {
		r.say(top.find("atOnce"), "1 or more", "atOnce is 0: nothing would ever begin")
	}
	d := r.defaults(m["defaults"], platforms)
	r.require(m, top, "", "racks", `racks: and a list of files, [{file: rack-1.yaml}]`)
	lines := r.racks(m["racks"], f, d, open, platforms)
	if len(r.problems) == 0 {
		for _, p := range fleet.Validate(f.Racks) {
			line := top.find("racks")
			if i := slices.Index(f.Spec.Racks, p.Rack); i >= 0 {
				line = lines[i]
			}
			r.say(line, "racks that fit together", "%s", p.What)
		}
	}
	if len(r.problems) > 0 {
		return nil, r.problems.Sorted()
	}
	return f, nil
}

// count reads a number that is not negative.
func (r *reader) count(m map[string]*yaml.Node, at *place, key, fix string) int {
	n := r.integer(m, at, key)
	if n < 0 || n > MaxRacks {
		r.say(at.find(key), fix, "%s is %d", key, n)
		at.broken[key] = true
		return 0
	}
	return n
}

func (r *reader) defaults(n *yaml.Node, platforms map[string]rack.Platform) (d defaults) {
	if n == nil {
		return d
	}
	at := newPlace(n.Line)
	m := r.mapping(n, at, "defaults.", "defaults", defaultKeys...)
	d.credentials = r.text(m, at, "defaults.", "credentials")
	p := m["platforms"]
	if p == nil {
		return d
	}
	var roles []string
	for _, role := range rack.Roles() {
		roles = append(roles, string(role))
	}
	d.platforms = map[string]string{}
	by := r.mapping(p, at, "defaults.platforms.", "defaults.platforms", roles...)
	for role := range by {
		name := r.text(by, at, "defaults.platforms.", role)
		if _, ok := platforms[name]; !ok && name != "" {
			r.say(by[role].Line, "one of "+strings.Join(slices.Sorted(maps.Keys(platforms)), ", "), "%s is not a platform", shown(name))
		}
		d.platforms[role] = name
	}
	return d
}

// racks reads the rack files that a fleet names. It returns the line of each.
func (r *reader) racks(n *yaml.Node, f *Fleet, d defaults, open func(string) ([]byte, error), platforms map[string]rack.Platform) (lines []int) {
	const fix = "a list of files: [{file: rack-1.yaml}, {file: rack-2.yaml}]"
	switch {
	case n == nil || !r.usable(n, "racks"):
		return nil
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		r.say(n.Line, fix, "racks is not a list of racks")
		return nil
	case len(n.Content) > MaxRacks:
		r.say(n.Line, "several fleets", "racks has %d entries, more than %d", len(n.Content), MaxRacks)
		return nil
	}
	for _, x := range n.Content {
		at := newPlace(x.Line)
		m := r.mapping(x, at, "", "a rack of the fleet", fleetRackKey...)
		if m == nil {
			continue
		}
		r.require(m, at, "", "file", "file: and the path of a rack file, from this file's folder")
		name := r.text(m, at, "", "file")
		if name == "" {
			continue
		}
		path := beside(r.file, name)
		data, err := open(path)
		if err != nil {
			r.say(at.find("file"), "the path of a rack file, from this file's folder", "%s %s", shown(name), unreadable(err))
			continue
		}
		one, err := parse(path, data, open, platforms, d)
		if err != nil {
			if problems, ok := err.(Problems); ok {
				r.problems = append(r.problems, problems...)
			}
			continue
		}
		f.Racks, f.Spec.Racks, lines = append(f.Racks, one), append(f.Spec.Racks, one.Name), append(lines, x.Line)
	}
	return lines
}

// fill puts the defaults into a rack file that leaves them out.
func (d defaults) fill(root *yaml.Node) {
	devices := child(root, "devices")
	if devices == nil || devices.Kind != yaml.SequenceNode {
		return
	}
	for _, dev := range devices.Content {
		if role := child(dev, "role"); role != nil && d.platforms[role.Value] != "" {
			give(dev, "platform", d.platforms[role.Value])
		}
		if bmc := child(dev, "bmc"); bmc != nil && d.credentials != "" {
			give(bmc, "credentials", d.credentials)
		}
	}
}

// child is the value of a key of a mapping; nil when there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// give adds a text to a mapping that has no such key.
func give(n *yaml.Node, key, value string) {
	if n.Kind != yaml.MappingNode || child(n, key) != nil {
		return
	}
	scalar := func(s string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: n.Line, Column: n.Column}
	}
	n.Content = append(n.Content, scalar(key), scalar(value))
}
