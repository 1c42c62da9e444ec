package rackfile

import (
	"errors"
	"fmt"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
)

// fleetKind is the kind of a fleet file.
const fleetKind = "Fleet"

var (
	fleetKeys  = []string{"apiVersion", "kind", "name", "atOnce", "haltAfter", "defaults", "racks"}
	memberKeys = []string{"file", "defaults"}
)

// maxFleetName bounds the name of a fleet, in characters.
const maxFleetName = 63

// Fleet is a fleet file with the rack files that it names.
type Fleet struct {
	Spec  fleet.Spec
	Racks []*rack.Rack // in the order of the file, as Spec.Racks
	Files []string     // of the racks, joined with the folder of the fleet file
}

// ReadAny reads the file at path, which is a rack file or a fleet file: one of
// the two results is nil. Its error is of type Problems.
func ReadAny(path string, platforms map[string]rack.Platform) (*rack.Rack, *Fleet, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, nil, Problems{{File: path, What: unreadable(err), Fix: "the path of a rack file or a fleet file, such as examples/rack-1.yaml"}}
	}
	if root, err := document(path, data); err == nil && fleetLine(root) > 0 {
		f, err := ParseFleet(path, data, readBounded, platforms)
		return nil, f, err
	}
	r, err := Parse(path, data, readBounded, platforms)
	return r, nil, err
}

// fleetLine is the line in which a document calls itself a fleet file, or 0.
func fleetLine(root *yaml.Node) int {
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		if key, value := root.Content[i], root.Content[i+1]; key.Value == "kind" && value.Value == fleetKind {
			return value.Line
		}
	}
	return 0
}

// ParseFleet reads a fleet file that is in memory. name stands for it in messages;
// open gives the bytes of the rack files and their inventories, whose paths are
// joined with the folder of the file that names them. The error is of type
// Problems, and names those of all racks.
func ParseFleet(name string, data []byte, open func(path string) ([]byte, error), platforms map[string]rack.Platform) (*Fleet, error) {
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	r := &fleetReader{reader: reader{file: name}, open: open, platforms: platforms, top: newPlace(root.Line), named: map[string]bool{}}
	r.fleet(root)
	if !r.lost {
		r.validate()
	}
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	return &r.out, nil
}

// fleetReader reads a fleet file and the rack files that it names.
type fleetReader struct {
	reader
	open      func(path string) ([]byte, error)
	platforms map[string]rack.Platform
	top       *place
	named     map[string]bool // paths of rack files
	members   []*file
	lost      bool // a rack could not be read at all
	out       Fleet
}

func (r *fleetReader) fleet(root *yaml.Node) {
	m := r.mapping(root, r.top, "", "the fleet file", fleetKeys...)
	if m == nil {
		r.lost = true
		return
	}
	r.header(m, r.top, "apiVersion", apiVersion)
	r.header(m, r.top, "kind", fleetKind)
	r.require(m, r.top, "", "name", "name: and the fleet's name, such as pod-1")
	r.out.Spec.Name = r.text(m, r.top, "", "name")
	if n := r.out.Spec.Name; n != "" && !isLabel(n) {
		r.say(r.top.find("name"), fmt.Sprintf("1 to %d lower-case letters, digits and hyphens, no hyphen first or last", maxFleetName), "%s is not a name for a fleet", shown(n))
	}
	r.out.Spec.AtOnce = r.integer(m, r.top, "atOnce")
	r.out.Spec.HaltAfter = r.integer(m, r.top, "haltAfter")
	if n, ok := m["defaults"]; ok {
		r.defaults = r.readDefaults(n, r.top, nil, r.platforms)
	}
	r.require(m, r.top, "", "racks", "racks: and a list of rack files, each as file: rack-1.yaml")
	n, ok := m["racks"]
	switch {
	case !ok || !r.usable(n, "racks"):
		r.lost = true
		return
	case n.Kind != yaml.SequenceNode:
		r.say(n.Line, "a list: each rack begins with a hyphen", "racks is not a list")
		r.lost = true
		return
	case len(n.Content) > fleet.MaxRacks:
		r.say(n.Line, fmt.Sprintf("at most %d, and another fleet for the others", fleet.MaxRacks), "the fleet has %d racks", len(n.Content))
		r.lost = true
		return
	}
	for _, item := range n.Content {
		r.member(item)
	}
}

// isLabel reports whether s can be a host name (RFC 1123 §2.1).
func isLabel(s string) bool {
	for i := range len(s) {
		if b := s[i]; (b < 'a' || b > 'z') && (b < '0' || b > '9') && (b != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= maxFleetName
}

// member reads one rack of the fleet.
func (r *fleetReader) member(n *yaml.Node) {
	at := newPlace(n.Line)
	m := r.mapping(n, at, "", "the rack", memberKeys...)
	if m == nil {
		r.lost = true
		return
	}
	r.require(m, at, "", "file", "file: and the path of a rack file, such as rack-1.yaml")
	own := r.defaults
	if n, ok := m["defaults"]; ok {
		own = r.readDefaults(n, at, r.defaults, r.platforms)
	}
	name := r.text(m, at, "", "file")
	const fix = "the name of a rack file in the fleet file's folder or below it"
	switch {
	case name == "":
		r.lost = true
		return
	case !filepath.IsLocal(name):
		r.say(at.find("file"), fix, "rack file %s is not beside the fleet file", shown(name))
		r.lost = true
		return
	}
	path := beside(r.file, name)
	if r.named[path] {
		r.say(at.find("file"), "each rack file once", "rack file %s is named twice", shown(name))
		r.lost = true
		return
	}
	r.named[path] = true
	data, err := r.open(path)
	if err != nil {
		r.say(at.find("file"), fix, "rack file %s %s", shown(name), unreadable(err))
		r.lost = true
		return
	}
	r.rackFile(path, data, own)
}

// rackFile reads one rack file, with the defaults that hold for it.
func (r *fleetReader) rackFile(path string, data []byte, own *defaults) {
	root, err := document(path, data)
	if all := (Problems{}); errors.As(err, &all) {
		r.problems = append(r.problems, all...)
		r.lost = true
		return
	}
	if line := fleetLine(root); line > 0 {
		r.problems = append(r.problems, Problem{File: path, Line: line, What: "a fleet file in a fleet", Fix: "the racks of it in the fleet file that names it"})
		r.lost = true
		return
	}
	one := reader{file: path, defaults: own}
	f := one.whole(root, r.open, r.platforms)
	r.problems = append(r.problems, one.problems...)
	r.lost = r.lost || f.lost
	r.members = append(r.members, f)
	r.out.Racks, r.out.Files = append(r.out.Racks, f.rack), append(r.out.Files, path)
	r.out.Spec.Racks = append(r.out.Spec.Racks, f.rack.Name)
}

// validate asks what the racks contradict each other in, and finds the line for
// each answer.
func (r *fleetReader) validate() {
	members := make([]fleet.Member, len(r.members))
	for i, f := range r.members {
		members[i].Rack = f.rack
	}
	for _, p := range fleet.Validate(r.out.Spec, members) {
		name, line, ok := r.reader.file, r.top.find(p.Where.Field), !r.top.isBroken(p.Where.Field)
		if p.Rack >= 0 {
			name, line, ok = r.members[p.Rack].find(r.out.Files[p.Rack], p.Where)
		}
		if ok {
			r.problems = append(r.problems, Problem{File: name, Line: line, What: p.What, Fix: p.Fix})
		}
	}
}
