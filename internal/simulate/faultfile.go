package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of a file of faults.
const (
	MaxFaultFile = 64 << 10 // bytes
	MaxFaults    = 500
	maxText      = 120 // bytes of a reason, and of a stranger's text in a message
	maxProblems  = 100 // in one error
)

// Problem is one thing that is wrong with a file of faults.
type Problem struct {
	Line int // from 1; 0: the file as a whole
	What string
	Fix  string // what to write instead
}

// String is "line N: what; write: fix".
func (p Problem) String() string {
	if p.Line == 0 {
		return p.What + "; write: " + p.Fix
	}
	return fmt.Sprintf("line %d: %s; write: %s", p.Line, p.What, p.Fix)
}

// Problems is everything that is wrong with a file of faults, in its order. It
// is the error of ParseFaults.
type Problems []Problem

var _ error = Problems{}

// Error is one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

const exampleFault = "{role: server, step: write, probability: 0.02}"

// ParseFaults reads what may go wrong from YAML:
//
//	faults:
//	  - role: server          # management-switch, tor-switch, inter-rack-switch, server; left out: every role
//	    step: write           # a step of the platform, or first-contact, or data-cable
//	    probability: 0.02     # 0 to 1
//	    kind: error           # error (the default): it is refused, or the device says so; silent: nothing comes
//	    scope: device         # attempt (the default): every attempt anew; device: no retry helps
//	    reason: disk missing  # failures are counted by it; left out: made of kind and step
//
// first-contact is always silent and of the device, data-cable always silent
// and of each cable. Nothing else goes wrong: the file replaces the realistic
// table. Unknown and repeated keys, anchors and second documents are refused.
// The error is of type Problems. Whether a rack has such a step is only known
// to Run, which refuses faults that can befall none of its devices.
func ParseFaults(data []byte) (Faults, error) {
	p := &faultParser{}
	if list := p.document(data); list != nil {
		if len(list.Content) > MaxFaults {
			p.add(list, fmt.Sprintf("there are %d faults", len(list.Content)), fmt.Sprintf("at most %d", MaxFaults))
		} else {
			for _, n := range list.Content {
				p.fault(n)
			}
		}
	}
	if len(p.problems) > 0 {
		return Faults{}, p.problems
	}
	return Faults{Name: "file", list: p.faults, strict: true}, nil
}

type faultParser struct {
	problems Problems
	faults   []Fault
}

func (p *faultParser) add(n *yaml.Node, what, fix string) {
	line := 0
	if n != nil {
		line = n.Line
	}
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{line, what, fix})
	}
}

// document is the list of faults of the only document, or nil after a problem.
func (p *faultParser) document(data []byte) *yaml.Node {
	if len(data) > MaxFaultFile {
		p.add(nil, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("at most %d", MaxFaultFile))
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		p.add(nil, "the file is empty", "faults: ["+exampleFault+"]")
		return nil
	case err != nil:
		p.add(nil, "this is not YAML: "+shown(err.Error()), "faults: ["+exampleFault+"]")
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		p.add(nil, "something follows the first document", "one document only")
		return nil
	}
	if n := anchored(&doc, 0); n != nil {
		p.add(n, "anchors and aliases are not read", "the value itself")
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		p.add(root, "the file is not a mapping", "faults: ["+exampleFault+"]")
		return nil
	}
	top := p.mapping(root, []string{"faults"})
	list := top["faults"]
	switch {
	case list == nil:
		p.add(root, "faults is missing", "faults: ["+exampleFault+"]")
		return nil
	case list.Kind != yaml.SequenceNode:
		p.add(list, "faults is not a list", "faults: ["+exampleFault+"]")
		return nil
	}
	return list
}

// maxDepth bounds the nesting that is looked at.
const maxDepth = 16

// anchored is the first node with an anchor, an alias, or one nested too deep.
func anchored(n *yaml.Node, depth int) *yaml.Node {
	if n.Anchor != "" || n.Kind == yaml.AliasNode || depth > maxDepth {
		return n
	}
	for _, c := range n.Content {
		if x := anchored(c, depth+1); x != nil {
			return x
		}
	}
	return nil
}

// mapping is the values of a mapping by key; other keys are problems.
func (p *faultParser) mapping(n *yaml.Node, keys []string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || !slices.Contains(keys, k.Value):
			p.add(k, fmt.Sprintf("unknown key %s", shown(k.Value)), "one of "+strings.Join(keys, ", "))
		case out[k.Value] != nil:
			p.add(k, fmt.Sprintf("%s is there twice", k.Value), "it once")
		default:
			out[k.Value] = v
		}
	}
	return out
}

var faultKeys = [...]string{"role", "step", "probability", "kind", "scope", "reason"}

func (p *faultParser) fault(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.add(n, "a fault is not a mapping", exampleFault)
		return
	}
	before := len(p.problems)
	m := p.mapping(n, faultKeys[:])
	f := Fault{Kind: Refused, Scope: PerAttempt, Source: "file", Mark: Estimate}
	f.Step = p.text(n, m["step"], "step", "a step of the platform, first-contact or data-cable")
	f.Probability = p.probability(n, m["probability"])
	switch f.Step {
	case FirstContact:
		f.Kind, f.Scope = Silent, PerDevice
	case DataCable:
		f.Kind, f.Scope = Silent, PerCable
	}
	if m["role"] != nil {
		f.Role = word(p, m["role"], "role", rack.Roles())
	}
	if m["kind"] != nil {
		kinds := []FaultKind{Refused, Silent}
		if f.Kind == Silent {
			kinds = kinds[1:]
		}
		f.Kind = word(p, m["kind"], "kind", kinds)
	}
	if m["scope"] != nil {
		scopes := []Scope{PerAttempt, PerFirst, PerDevice}
		if f.Scope != PerAttempt {
			scopes = []Scope{f.Scope}
		}
		f.Scope = word(p, m["scope"], "scope", scopes)
	}
	f.Reason = string(f.Kind) + " at " + f.Step
	if m["reason"] != nil {
		f.Reason = p.text(n, m["reason"], "reason", "a few words")
	}
	if len(p.problems) == before {
		p.faults = append(p.faults, f)
	}
}

func (p *faultParser) text(at, n *yaml.Node, key, fix string) string {
	switch {
	case n == nil:
		p.add(at, key+" is missing", key+": "+fix)
	case n.Kind != yaml.ScalarNode || n.Value == "" || n.Tag == "!!null":
		p.add(n, key+" is not a text", key+": "+fix)
	case len(n.Value) > maxText || strings.ContainsFunc(n.Value, func(r rune) bool { return !strconv.IsPrint(r) }):
		p.add(n, fmt.Sprintf("%s is longer than %d bytes or cannot be printed", key, maxText), key+": "+fix)
	default:
		return n.Value
	}
	return ""
}

func (p *faultParser) probability(at, n *yaml.Node) float64 {
	const fix = "probability: a number from 0 to 1, such as 0.02"
	if n == nil {
		p.add(at, "probability is missing", fix)
		return 0
	}
	var x float64
	if n.Kind != yaml.ScalarNode || (n.Tag != "!!float" && n.Tag != "!!int") || n.Decode(&x) != nil || math.IsNaN(x) || x < 0 || x > 1 {
		p.add(n, fmt.Sprintf("%s is not a probability", shown(n.Value)), fix)
		return 0
	}
	return x
}

// word is one of a few words.
func word[T ~string](p *faultParser, n *yaml.Node, key string, of []T) T {
	if n.Kind == yaml.ScalarNode && slices.Contains(of, T(n.Value)) {
		return T(n.Value)
	}
	words := make([]string, len(of))
	for i := range of {
		words[i] = string(of[i])
	}
	p.add(n, fmt.Sprintf("%s cannot be %s here", key, shown(n.Value)), key+": "+strings.Join(words, " or "))
	return ""
}

// shown is a stranger's text in a message: escaped and cut.
func shown(s string) string {
	if len(s) > maxText {
		return strconv.QuoteToASCII(s[:maxText]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
