package rackfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
	"gopkg.in/yaml.v3"
)

// reader collects problems while it walks the nodes of one file.
type reader struct {
	file     string
	problems Problems
}

func (r *reader) say(line int, fix, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, What: fmt.Sprintf(format, args...), Fix: fix})
}

// place is what is known about the lines of one mapping of the file: where each
// field's value stands, and which fields could not be read, so that nothing
// more is said about them.
type place struct {
	line   int            // of the mapping itself
	lines  map[string]int // by field, in the words of rack.Ref
	broken map[string]bool
}

func newPlace(line int) *place {
	return &place{line: line, lines: map[string]int{}, broken: map[string]bool{}}
}

// find is the line of a field, or of the nearest thing around it.
func (p *place) find(field string) int {
	for f := field; f != ""; f = outer(f) {
		if line, ok := p.lines[f]; ok {
			return line
		}
	}
	return p.line
}

// isBroken reports whether a field, or one around it, could not be read.
func (p *place) isBroken(field string) bool {
	for f := field; f != ""; f = outer(f) {
		if p.broken[f] {
			return true
		}
	}
	return false
}

// outer is the field around a field: "bmc" of "bmc.address", "data" of "data[1]".
func outer(field string) string {
	return field[:max(0, strings.LastIndexAny(field, ".["))]
}

// secretWords are parts of keys under which people keep secrets.
var secretWords = [...]string{"password", "passwd", "passphrase", "secret", "token", "private", "apikey", "api_key", "api-key", "username", "user", "login"}

// mapping reads the keys of a mapping. Unknown and repeated keys are problems;
// values are never repeated in a message. prefix is put before the names of
// fields in the place. It returns nil when n is no mapping.
func (r *reader) mapping(n *yaml.Node, at *place, prefix, what string, known ...string) map[string]*yaml.Node {
	fix := "keys and values: " + strings.Join(known, ", ")
	if !r.usable(n, what) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.say(n.Line, fix, "%s is not a set of keys and values", what)
		return nil
	}
	out := make(map[string]*yaml.Node, len(known))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		_, twice := out[key.Value]
		switch name := key.Value; {
		case key.Kind == yaml.AliasNode || key.Anchor != "":
			r.say(key.Line, "the key itself", "an anchor or alias in %s: rack files have none", what)
		case key.Kind == yaml.ScalarNode && slices.Contains(known, name) && twice:
			r.say(key.Line, "it once", "key %s is given twice in %s", name, what)
		case key.Kind == yaml.ScalarNode && slices.Contains(known, name):
			out[name] = value
			at.lines[prefix+name] = value.Line
		case key.Kind == yaml.ScalarNode && isSecretKey(name):
			r.say(key.Line, "credentials: "+rack.References+", which holds user:password",
				"a secret does not stand in a rack file: key %s in %s", keyShown(name), what)
		default:
			r.say(key.Line, "one of "+strings.Join(known, ", "), "unknown key %s in %s", keyShown(name), what)
		}
	}
	return out
}

func isSecretKey(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords[:], func(w string) bool { return strings.Contains(name, w) })
}

// keyShown is the name of an unknown key. One that does not look like a key is
// not repeated: in {admin:abc} the colon is part of the key.
func keyShown(name string) string {
	for i := range len(name) {
		if b := name[i]; (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (i == 0 || b != '_' && b != '-') {
			return "(not repeated here)"
		}
	}
	if name == "" || len(name) > 40 {
		return "(not repeated here)"
	}
	return strconv.Quote(name)
}

// usable refuses anchors and aliases, with which a small file can stand for an
// endless one.
func (r *reader) usable(n *yaml.Node, what string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.say(n.Line, "the value itself", "an anchor or alias at %s: rack files have none", what)
		return false
	}
	return true
}

// text reads a field that is text. A field that is not there is "".
func (r *reader) text(m map[string]*yaml.Node, at *place, prefix, key string) string {
	n, ok := m[key]
	if !ok {
		return ""
	}
	s, ok := r.scalar(n, prefix+key)
	at.broken[prefix+key] = !ok
	return s
}

// scalar reads one text. Its value is not repeated when it is refused.
func (r *reader) scalar(n *yaml.Node, what string) (string, bool) {
	switch {
	case !r.usable(n, what):
		return "", false
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value != "":
		return n.Value, true
	case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == ""):
		r.say(n.Line, "a value, or leave the key out", "%s is empty", what)
	default:
		r.say(n.Line, "one text, in quotes", "%s is not text", what)
	}
	return "", false
}

// require says that a key is missing.
func (r *reader) require(m map[string]*yaml.Node, at *place, prefix, key, fix string) {
	if _, ok := m[key]; !ok {
		at.broken[prefix+key] = true
		r.say(at.line, fix, "%s is missing", prefix+key)
	}
}

// boolean reads true or false; a field that is not there is false.
func (r *reader) boolean(m map[string]*yaml.Node, at *place, prefix, key string) bool {
	n, ok := m[key]
	if !ok {
		return false
	}
	key = prefix + key
	if !r.usable(n, key) {
		at.broken[key] = true
		return false
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		switch n.Value {
		case "true":
			return true
		case "false":
			return false
		}
	}
	at.broken[key] = true
	r.say(n.Line, "true or false", "%s is neither true nor false", key)
	return false
}

// integer reads a decimal number.
func (r *reader) integer(m map[string]*yaml.Node, at *place, key string) int {
	n, ok := m[key]
	if !ok {
		return 0
	}
	if !r.usable(n, key) {
		at.broken[key] = true
		return 0
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		if v, err := strconv.Atoi(n.Value); err == nil {
			return v
		}
	}
	at.broken[key] = true
	r.say(n.Line, "a number such as 2", "%s is not a whole number", key)
	return 0
}
