package strictyaml

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Reader collects problems while somebody walks the nodes of one file.
type Reader struct {
	File     string
	Problems Problems
}

// Say adds a problem.
func (r *Reader) Say(line int, fix, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{File: r.File, Line: line, What: fmt.Sprintf(format, args...), Fix: fix})
}

// Usable refuses anchors and aliases, with which a small file can stand for an
// endless one.
func (r *Reader) Usable(n *yaml.Node, what string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.Say(n.Line, "the value itself", "an anchor or alias at %s: these files have none", what)
		return false
	}
	return true
}

// Pair is a key and its value.
type Pair struct {
	Name       string
	Key, Value *yaml.Node
}

// Pairs reads the keys and values of a mapping, in the file's order. A key that
// is no text, or that stands there twice, is a problem and left out; ok is false
// when n is no mapping.
func (r *Reader) Pairs(n *yaml.Node, what, fix string) (out []Pair, ok bool) {
	if !r.Usable(n, what) {
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		r.Say(n.Line, fix, "%s is not a set of keys and values", what)
		return nil, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !r.Usable(key, "a key of "+what):
		case key.Kind != yaml.ScalarNode:
			r.Say(key.Line, fix, "a key of %s is not text", what)
		case slices.ContainsFunc(out, func(p Pair) bool { return p.Name == key.Value }):
			r.Say(key.Line, "it once", "key %s is given twice in %s", Shown(key.Value), what)
		default:
			out = append(out, Pair{key.Value, key, n.Content[i+1]})
		}
	}
	return out, true
}

// Mapping reads a mapping with known keys only. It returns nil when n is none.
func (r *Reader) Mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	list := strings.Join(known, ", ")
	pairs, ok := r.Pairs(n, what, "keys and values: "+list)
	if !ok {
		return nil
	}
	out := make(map[string]*yaml.Node, len(pairs))
	for _, p := range pairs {
		if !slices.Contains(known, p.Name) {
			r.Say(p.Key.Line, "one of "+list, "unknown key %s in %s", Shown(p.Name), what)
			continue
		}
		out[p.Name] = p.Value
	}
	return out
}

// List reads a list of at most max items; nil when n is none.
func (r *Reader) List(n *yaml.Node, what, fix string, max int) []*yaml.Node {
	switch {
	case !r.Usable(n, what):
		return nil
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		r.Say(n.Line, fix, "%s is not a list", what)
		return nil
	case len(n.Content) > max:
		r.Say(n.Line, fmt.Sprintf("at most %d", max), "%s has %d items", what, len(n.Content))
		return nil
	}
	return n.Content
}

// Scalar reads one value that is not empty, as it is written, whatever YAML takes
// it for.
func (r *Reader) Scalar(n *yaml.Node, what, fix string) (string, bool) {
	switch {
	case !r.Usable(n, what):
		return "", false
	case n.Kind != yaml.ScalarNode:
		r.Say(n.Line, fix, "%s is not one value", what)
		return "", false
	case n.ShortTag() == "!!null" || n.Value == "":
		r.Say(n.Line, fix, "%s is empty", what)
		return "", false
	}
	return n.Value, true
}
