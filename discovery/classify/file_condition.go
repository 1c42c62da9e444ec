package classify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/strictyaml"
)

var conditionKeys = []string{"present", "asks", "list", "separator", "equals", "fields"}

// conditions reads what stands under when or read: options, and what they must
// say.
func (r *reader) conditions(n *yaml.Node, what string) (out []condition, from []source) {
	pairs, ok := r.Pairs(n, what, `an option and its text: {60: "Vendor;{model}"}`)
	switch {
	case !ok:
		return nil, nil
	case len(pairs) == 0:
		r.Say(n.Line, `an option and its text: {60: "Vendor;{model}"}`, "%s is empty", what)
		return nil, nil
	case len(pairs) > maxConditions:
		r.Say(n.Line, fmt.Sprintf("at most %d", maxConditions), "%s names %d options", what, len(pairs))
		return nil, nil
	}
	for _, p := range pairs {
		s, problem, fix := parseSource(p.Name)
		if problem != "" {
			r.Say(p.Key.Line, fix, "%s: %s", strictyaml.Shown(p.Name), problem)
			continue
		}
		if slices.Contains(from, s) {
			r.Say(p.Key.Line, "it once", "option %s is given twice in %s", s, what)
			continue
		}
		if c, ok := r.condition(p.Value, s); ok {
			out, from = append(out, c), append(from, s)
		}
	}
	return out, from
}

// parseSource reads the name of an option or sub-option: 60, 124/9, 125/42623/3,
// 43/1, 175/0xb1.
func parseSource(s string) (out source, problem, fix string) {
	const fixOption = `the number of an option, such as 60, or of a sub-option, such as "43/1", "124/9" or "125/42623/3"`
	parts := strings.Split(s, "/")
	numbers := make([]uint64, len(parts))
	for i, p := range parts {
		n, err := parseNumber(p, 32)
		if err != nil {
			return out, "it is not an option", fixOption
		}
		numbers[i] = n
	}
	out = source{sub: -1}
	if numbers[0] < 1 || numbers[0] > 254 {
		return out, "there is no such option", "a number from 1 to 254"
	}
	out.code = uint8(numbers[0])
	rest := numbers[1:]
	switch out.code {
	case optionRelay:
		return out, "option 82 is the relay's word, not the device's", "another option"
	case optionVendorClass, optionVendorInfo:
		if len(rest) == 0 {
			return out, "whose? options 124 and 125 begin with the number of an enterprise", `the number too, such as "124/9" or "125/42623/3"`
		}
		out.enterprise, rest = uint32(rest[0]), rest[1:]
	}
	takesSub := !slices.Contains([]uint8{optionHostName, optionRequested, optionClass, optionUserClass, optionArch, optionUNDI, optionMachineID, optionVendorClass}, out.code)
	switch {
	case len(rest) == 0:
		return out, "", ""
	case len(rest) > 1 || !takesSub:
		return out, "it has no such part", fixOption
	case rest[0] > math.MaxUint8:
		return out, "there is no such sub-option", "a number from 0 to 255"
	}
	out.sub = int(rest[0])
	return out, "", ""
}

// parseNumber reads a decimal number, or a hexadecimal one after 0x.
func parseNumber(s string, bits int) (uint64, error) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strconv.ParseUint(hex, 16, bits)
	}
	return strconv.ParseUint(s, 10, bits)
}

// condition reads what one option must say.
func (r *reader) condition(n *yaml.Node, s source) (condition, bool) {
	what := "option " + s.String()
	switch {
	case !r.Usable(n, what):
		return condition{}, false
	case n.Kind == yaml.MappingNode:
		return r.special(n, s, what)
	case s.code == optionArch:
		return r.numbers(n, what)
	case s.code == optionRequested:
		r.Say(n.Line, "{asks: [67, 239]} when it must ask for these, or {list: [1, 3, 6]} for this list exactly", "option 55 is a list of numbers")
		return condition{}, false
	case n.Kind == yaml.SequenceNode:
		var c condition
		for _, x := range r.List(n, what, "a list of texts", maxPatterns) {
			if p, ok := r.pattern(x); ok {
				c.patterns = append(c.patterns, p)
			}
		}
		return c, len(c.patterns) > 0
	}
	p, ok := r.pattern(n)
	return condition{patterns: []pattern{p}}, ok
}

// numbers reads one number of option 93 or several.
func (r *reader) numbers(n *yaml.Node, what string) (condition, bool) {
	const fix = "a number such as 7, or a list of which one must be there: [7, 9]"
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = r.List(n, what, fix, maxCodes)
	}
	c := condition{test: oneOf}
	for _, x := range items {
		if number, ok := r.number(x, what, fix, math.MaxUint16); ok {
			c.numbers = append(c.numbers, uint16(number))
		}
	}
	return c, len(c.numbers) == len(items) && len(items) > 0
}

func (r *reader) number(n *yaml.Node, what, fix string, most int) (int, bool) {
	s, ok := r.Scalar(n, what, fix)
	if !ok {
		return 0, false
	}
	number, err := parseNumber(s, 32)
	if err != nil || number > uint64(most) {
		r.Say(n.Line, fix, "%s: %s is not a number from 0 to %d", what, strictyaml.Shown(s), most)
		return 0, false
	}
	return int(number), true
}

// special reads a condition that is no pattern.
func (r *reader) special(n *yaml.Node, s source, what string) (condition, bool) {
	m := r.Mapping(n, what, conditionKeys...)
	if m == nil {
		return condition{}, false
	}
	has := func(keys ...string) bool {
		for _, k := range keys {
			if m[k] == nil {
				return false
			}
		}
		return len(m) == len(keys)
	}
	switch {
	case has("present"):
		return r.presence(m["present"], what)
	case has("asks") && s.code == optionRequested:
		c, ok := r.codes(m["asks"], what)
		c.test = asks
		return c, ok
	case has("list") && s.code == optionRequested:
		c, ok := r.codes(m["list"], what)
		c.test = listed
		return c, ok
	case has("separator", "equals", "fields") && s.code != optionRequested && s.code != optionArch:
		return r.keys(m, what)
	}
	fix := `a text, {present: true}, {present: false}, or {separator: ";", equals: ":", fields: {SN: "{serial}"}}`
	switch s.code {
	case optionRequested:
		fix = "{asks: [67, 239]}, {list: [1, 3, 6]}, {present: true} or {present: false}"
	case optionArch:
		fix = "a number such as 7, a list of them, {present: true} or {present: false}"
	}
	r.Say(n.Line, fix, "%s cannot be looked at in this way", what)
	return condition{}, false
}

func (r *reader) presence(n *yaml.Node, what string) (condition, bool) {
	switch s, ok := r.Scalar(n, what, "{present: true} or {present: false}"); {
	case !ok:
		return condition{}, false
	case s == "true":
		return condition{test: present}, true
	case s == "false":
		return condition{test: absent}, true
	}
	r.Say(n.Line, "{present: true} or {present: false}", "%s is neither there nor not", what)
	return condition{}, false
}

// codes reads a list of option codes.
func (r *reader) codes(n *yaml.Node, what string) (c condition, ok bool) {
	const fix = "a list of options: [67, 239]"
	items := r.List(n, what, fix, maxCodes)
	for _, x := range items {
		if code, ok := r.number(x, what, fix, math.MaxUint8); ok {
			c.codes = append(c.codes, byte(code))
		}
	}
	return c, len(items) > 0 && len(c.codes) == len(items)
}

// keys reads how a value of keys and values is taken apart.
func (r *reader) keys(m map[string]*yaml.Node, what string) (condition, bool) {
	c := condition{test: keyed}
	for _, x := range []struct {
		key string
		to  *[]byte
	}{{"separator", &c.keys.separator}, {"equals", &c.keys.equals}} {
		const fix = `separator: ";" and equals: ":" for SN:1;PID:2`
		s, ok := r.Scalar(m[x.key], x.key, fix)
		if !ok {
			return c, false
		}
		if len(s) > maxWord {
			r.Say(m[x.key].Line, fix, "%s of %s is too long", x.key, what)
			return c, false
		}
		*x.to = []byte(s)
	}
	pairs, ok := r.Pairs(m["fields"], "fields", `{SN: "{serial}", PID: "{model}"}`)
	if !ok || len(pairs) == 0 || len(pairs) > maxPatterns {
		r.Say(m["fields"].Line, `{SN: "{serial}", PID: "{model}"}`, "fields of %s has no key, or more than %d", what, maxPatterns)
		return c, false
	}
	for _, p := range pairs {
		pattern, ok := r.pattern(p.Value)
		if !ok {
			return c, false
		}
		c.keys.fields = append(c.keys.fields, keyField{[]byte(p.Name), pattern})
	}
	return c, true
}
