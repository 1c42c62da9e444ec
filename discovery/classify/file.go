package classify

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// Bounds of one rules file.
const (
	MaxFileSize   = 1 << 18 // bytes
	MaxRules      = 500
	maxConditions = 8     // of when, and of read
	maxPatterns   = 8     // of one option
	maxCodes      = 64    // of option 55
	maxOUIs       = 10000 // of all vendors
	maxArchs      = 100
	maxWord       = MaxString // characters of a fixed vendor, model or arch
	maxNote       = 500       // characters of a source
)

// The header that every rules file has.
const (
	apiVersion = "rackreach/v1"
	kind       = "Classification"
)

// Problems is everything that is wrong with a rules file, with file and line.
type Problems = strictyaml.Problems

var (
	topKeys  = []string{"apiVersion", "kind", "rules", "architectures", "ouis"}
	ruleKeys = []string{"name", "when", "read", "class", "stage", "vendor", "model", "arch", "source", "mark"}
	ouiKeys  = []string{"vendor", "prefixes"}
	marks    = []string{"V", "S", "D", "R", "O"}
	stages   = []rack.Stage{rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot, rack.StageONIE, rack.StageNOS, rack.StageOS, rack.StageBMC}
)

// set is the content of one rules file.
type set struct {
	rules []written
	archs map[int]string
	ouis  map[oui]string
}

// written is a rule whose conditions name their sources, which have no index yet.
type written struct {
	rule
	whenFrom, readFrom []source
}

// reader reads one rules file.
type reader struct {
	strictyaml.Reader
	set set
}

// parse reads a rules file. Its error is of type Problems.
func parse(name string, data []byte) (*set, error) {
	root, err := strictyaml.Kind{
		MaxSize: MaxFileSize,
		Smaller: "only the rules that are your own: ours are there without it",
		Begin:   "apiVersion: " + apiVersion + ", kind: " + kind + " and rules",
		One:     "all rules under one rules:",
	}.Document(name, data)
	if err != nil {
		return nil, err
	}
	r := &reader{Reader: strictyaml.Reader{File: name}, set: set{archs: map[int]string{}, ouis: map[oui]string{}}}
	r.top(root)
	if len(r.Problems) == 0 {
		r.shadowed()
	}
	if len(r.Problems) > 0 {
		return nil, r.Problems.Sorted()
	}
	return &r.set, nil
}

func (r *reader) top(root *yaml.Node) {
	m := r.Mapping(root, "the rules file", topKeys...)
	if m == nil {
		return
	}
	for _, h := range [][2]string{{"apiVersion", apiVersion}, {"kind", kind}} {
		n, ok := m[h[0]]
		if !ok {
			r.Say(root.Line, h[0]+": "+h[1], "%s is missing", h[0])
			continue
		}
		if s, ok := r.Scalar(n, h[0], h[1]); ok && s != h[1] {
			r.Say(n.Line, h[1], "%s is %s, which this version does not read", h[0], strictyaml.Shown(s))
		}
	}
	if m["rules"] == nil && m["architectures"] == nil && m["ouis"] == nil {
		r.Say(root.Line, "rules: and a list of them", "the file says nothing")
	}
	if n := m["rules"]; n != nil {
		for _, x := range r.List(n, "rules", "a list: each rule begins with - name:", MaxRules) {
			r.rule(x)
		}
	}
	if n := m["architectures"]; n != nil {
		r.archs(n)
	}
	if n := m["ouis"]; n != nil {
		for _, x := range r.List(n, "ouis", "a list: [{vendor: Quanta, prefixes: [2C600C]}]", maxOUIs) {
			r.oui(x)
		}
	}
}

// rule reads one rule.
func (r *reader) rule(n *yaml.Node) {
	m := r.Mapping(n, "a rule", ruleKeys...)
	if m == nil {
		return
	}
	before := len(r.Problems)
	w := written{rule: rule{file: r.File, line: n.Line}}
	w.name = r.name(n, m["name"])
	w.device = Device(oneOfWords(r, m["class"], "class", devices[:]))
	w.stage = rack.Stage(oneOfWords(r, m["stage"], "stage", stages))
	w.mark = oneOfWords(r, m["mark"], "mark", marks)
	w.vendor = r.word(m["vendor"], "vendor", maxWord)
	w.model = r.word(m["model"], "model", maxWord)
	w.arch = r.word(m["arch"], "arch", maxWord)
	w.rule.source = r.word(m["source"], "source", maxNote)
	if m["when"] == nil {
		r.Say(n.Line, `when: {60: "Vendor;{model};{serial}"}`, "when is missing: the rule would apply to everything")
		return
	}
	w.when, w.whenFrom = r.conditions(m["when"], "when")
	if m["read"] != nil {
		w.reads, w.readFrom = r.conditions(m["read"], "read")
	}
	if len(r.Problems) == before {
		r.judge(n, m, &w)
	}
	if len(r.Problems) == before {
		r.set.rules = append(r.set.rules, w)
	}
}

// judge holds what a rule as a whole must be.
func (r *reader) judge(n *yaml.Node, m map[string]*yaml.Node, w *written) {
	weak, positive := true, false
	for i, c := range w.when {
		if c.test == absent {
			continue
		}
		positive = true
		weak = weak && w.whenFrom[i].code == optionRequested
	}
	for i, c := range w.reads {
		if c.test != fits && c.test != keyed {
			r.Say(m["read"].Line, `a text with holes, such as "{serial}"`, "option %s is read, but nothing is taken from it", w.readFrom[i])
		}
	}
	fills := w.fills()
	switch {
	case !positive:
		r.Say(m["when"].Line, "an option that is there too", "when says only what is not there")
	case w.device == "" && w.stage == "" && w.vendor == "" && w.model == "" && w.arch == "" && !slices.Contains(fills[:], true):
		r.Say(n.Line, "class:, stage: or vendor:, or a hole such as {model}", "the rule says nothing of who it recognises")
	case weak && (w.stage != "" || w.model != "" || fills[fieldSerial] || fills[fieldModel]):
		r.Say(n.Line, "an option that the device says its name in, or only class: and vendor:", "what a client asks for (option 55) tells neither its stage nor its model: others ask for the same")
	case slices.ContainsFunc(r.set.rules, func(o written) bool { return o.name == w.name }):
		r.Say(m["name"].Line, "another name", "a rule named %s stands before it", w.name)
	}
}

// fills says which fields the holes of a rule may fill.
func (w *written) fills() (out [fields]bool) {
	for _, list := range [][]condition{w.when, w.reads} {
		for i := range list {
			for _, p := range list[i].allPatterns() {
				for _, h := range p.holes {
					out[h.fills] = h.fills != skipped || out[h.fills]
				}
			}
		}
	}
	return out
}

// allPatterns are the patterns of a condition, those of its keys included.
func (c *condition) allPatterns() []pattern {
	out := slices.Clone(c.patterns)
	for _, f := range c.keys.fields {
		out = append(out, f.pattern)
	}
	return out
}

func (r *reader) name(at, n *yaml.Node) string {
	const fix = "name: and a name such as acme-switch, of small letters, digits and hyphens"
	if n == nil {
		r.Say(at.Line, fix, "name is missing")
		return ""
	}
	s, ok := r.Scalar(n, "name", fix)
	if ok && (len(s) > 40 || s == architectures || s == ouis || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
		r.Say(n.Line, fix, "%s is not a name", strictyaml.Shown(s))
	}
	return s
}

// oneOfWords reads a word out of a fixed few; "" when the key is not there.
func oneOfWords[W ~string](r *reader, n *yaml.Node, key string, words []W) string {
	if n == nil {
		return ""
	}
	list := make([]string, 0, len(words))
	for _, w := range words {
		list = append(list, string(w))
	}
	fix := "one of " + strings.Join(list, ", ")
	s, ok := r.Scalar(n, key, fix)
	if ok && !slices.Contains(list, s) {
		r.Say(n.Line, fix, "%s is not a %s", strictyaml.Shown(s), key)
	}
	return s
}

// word reads a text that is shown as it is; "" when the key is not there.
func (r *reader) word(n *yaml.Node, key string, max int) string {
	if n == nil {
		return ""
	}
	fix := fmt.Sprintf("1 to %d printable ASCII characters", max)
	s, ok := r.Scalar(n, key, fix)
	if ok && (len(s) > max || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })) {
		r.Say(n.Line, fix, "%s is not a %s", strictyaml.Shown(s), key)
	}
	return s
}

// archs reads names of processor architectures.
func (r *reader) archs(n *yaml.Node) {
	const fix = "a number of option 93 and a name: {7: x86_64-uefi}"
	pairs, _ := r.Pairs(n, "architectures", fix)
	if len(pairs) > maxArchs {
		r.Say(n.Line, fmt.Sprintf("at most %d", maxArchs), "architectures has %d numbers", len(pairs))
		return
	}
	for _, p := range pairs {
		number, err := parseNumber(p.Name, 16)
		if err != nil {
			r.Say(p.Key.Line, fix, "%s is not a number from 0 to 65535", strictyaml.Shown(p.Name))
			continue
		}
		r.set.archs[int(number)] = r.word(p.Value, "architecture", maxWord)
	}
}

// oui reads the MAC prefixes of one vendor.
func (r *reader) oui(n *yaml.Node) {
	m := r.Mapping(n, "an item of ouis", ouiKeys...)
	if m == nil {
		return
	}
	if m["vendor"] == nil || m["prefixes"] == nil {
		r.Say(n.Line, "{vendor: Quanta, prefixes: [2C600C]}", "an item of ouis has no vendor or no prefixes")
		return
	}
	vendor := r.word(m["vendor"], "vendor", maxWord)
	const fix = `the first three bytes of a MAC, in quotes: "2C600C"`
	for _, x := range r.List(m["prefixes"], "prefixes", "a list: ["+fix+"]", maxOUIs) {
		s, ok := r.Scalar(x, "a prefix", fix)
		if !ok {
			continue
		}
		b, err := hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(s))
		if err != nil || len(b) != 3 {
			r.Say(x.Line, fix, "%s is not the beginning of a MAC", strictyaml.Shown(s))
			continue
		}
		if other, twice := r.set.ouis[ouiOf(b)]; twice {
			r.Say(x.Line, "it once", "prefix %s stands there twice, also for %s", strictyaml.Shown(s), other)
			continue
		}
		if len(r.set.ouis) == maxOUIs {
			r.Say(x.Line, fmt.Sprintf("at most %d", maxOUIs), "there are too many prefixes")
			return
		}
		r.set.ouis[ouiOf(b)] = vendor
	}
}

// patternProblem says what is wrong with a pattern.
func (r *reader) patternProblem(n *yaml.Node, s string, err error) {
	fix := ""
	if bad := (patternError{}); errors.As(err, &bad) {
		fix = bad.fix
	}
	r.Say(n.Line, fix, "pattern %s: %s", strictyaml.Shown(s), err)
}

// pattern reads one pattern.
func (r *reader) pattern(n *yaml.Node) (pattern, bool) {
	s, ok := r.Scalar(n, "a pattern", `a text, with holes for what differs: "Vendor;{model};{serial}"`)
	if !ok {
		return pattern{}, false
	}
	p, err := parsePattern(s)
	if err != nil {
		r.patternProblem(n, s, err)
		return p, false
	}
	if len(p.holes) == 0 && len(bytes.Trim(p.prefix, "\x00")) == 0 {
		r.Say(n.Line, "{present: true} when any value will do", "pattern %s fits no value", strictyaml.Shown(s))
		return p, false
	}
	return p, true
}
