package classify

import (
	"github.com/rackreach/rackreach/internal/rack"
)

// The tables, as a Step names them. No rule has such a name.
const (
	architectures = "architectures"
	ouis          = "ouis"
)

// Explanation is a decision and how it came about.
type Explanation struct {
	Class Class
	Steps []Step   // the rules that applied, strongest first
	Open  []string // what nobody said: class, stage, vendor, model, serial, arch
	Tried int      // how many rules there are
	// Missed are the rules of the user's file that did not apply.
	Missed []Miss
}

// Step is what one rule, or one of the tables, said.
type Step struct {
	Rule    string
	File    string // "" for a table
	Line    int
	Source  string // where the strings are from
	Mark    string // V captured, S source code, D other documents, R standard
	Matched []string
	Gave    []Said // what was open until then
	Passed  string // why it gave nothing; "" when it did
}

// Said is one field and its value.
type Said struct {
	Field string
	Value string
	From  string // the option that said it; "" when the rule itself does
}

// Miss is a rule that did not apply.
type Miss struct {
	Rule string
	Line int
	Why  string // the first condition that does not hold
}

// names of what a decision may say, in the order in which people ask.
var classFields = [...]string{"class", "stage", "vendor", "model", "serial", "arch"}

// values are the fields of a class by classFields; "" is open.
func (c *Class) values() [len(classFields)]string {
	stage := string(c.Stage)
	if c.Stage == rack.StageUnknown {
		stage = ""
	}
	return [...]string{string(c.Device), stage, c.Vendor, c.Model, c.Serial, c.Arch}
}

// Explain is Classify, and says which rules applied, what each of them gave, and
// what stays open.
func (r *Rules) Explain(p Packet) Explanation {
	out := Explanation{Tried: len(r.rules)}
	out.Class, out.Steps = r.decide(p, true)
	for i, v := range out.Class.values() {
		if v == "" {
			out.Open = append(out.Open, classFields[i])
		}
	}
	var v view
	r.look(p, &v)
	for i := range r.rules {
		if rule := &r.rules[i]; rule.own {
			if why := rule.missed(r, &v); why != "" {
				out.Missed = append(out.Missed, Miss{rule.name, rule.line, why})
			}
		}
	}
	return out
}

// tableStep is the step of a table.
func tableStep(name, matched string, gave Said) Step {
	return Step{Rule: name, Matched: []string{matched}, Gave: []Said{gave}}
}

func (rule *rule) step(r *Rules, v *view) Step {
	s := Step{Rule: rule.name, File: rule.file, Line: rule.line, Source: rule.source, Mark: rule.mark}
	for i := range rule.when {
		c := &rule.when[i]
		from := r.sources[c.from]
		var got filled
		value, _ := c.holds(v, from.code, &got)
		if c.test == absent {
			s.Matched = append(s.Matched, "no "+from.String())
			continue
		}
		s.Matched = append(s.Matched, string(c.appendSaid(nil, from, value)))
	}
	return s
}

// passed is the step of a rule that speaks of another stage.
func (rule *rule) passed(r *Rules, v *view, found rack.Stage) Step {
	s := rule.step(r, v)
	s.Passed = "it speaks of stage " + string(rule.stage) + "; stage " + string(found) + " was decided before it"
	return s
}

// did is the step of a rule that was listened to.
func (rule *rule) did(r *Rules, v *view, before, after *Class) Step {
	s := rule.step(r, v)
	old, now := before.values(), after.values()
	for i := range now {
		if now[i] != old[i] {
			s.Gave = append(s.Gave, Said{classFields[i], now[i], rule.said(r, v, classFields[i])})
		}
	}
	if len(s.Gave) == 0 {
		s.Passed = "all that it says was said before it"
	}
	return s
}

// said is the option from which a rule took a field; "" when it says it itself.
func (rule *rule) said(r *Rules, v *view, name string) string {
	out := ""
	for pass, list := range [][]condition{rule.when, rule.reads} {
		for i := range list {
			c := &list[i]
			from := r.sources[c.from]
			var got filled
			if pass == 0 {
				c.holds(v, from.code, &got)
			} else {
				c.read(v, from.code, &got)
			}
			for f := fieldVendor; f < fields; f++ {
				if len(got[f]) > 0 && (fieldNames[f] == name || (f == fieldArchNumber && name == "arch")) {
					out = from.String()
				}
			}
		}
	}
	return out
}

// missed says which condition does not hold; "" when all do.
func (rule *rule) missed(r *Rules, v *view) string {
	for i := range rule.when {
		c := &rule.when[i]
		from := r.sources[c.from]
		var got filled
		if _, ok := c.holds(v, from.code, &got); ok {
			continue
		}
		value := v.values[c.from]
		switch {
		case value == nil:
			return "option " + from.String() + " is not there"
		case c.test == absent:
			return "option " + from.String() + " is there"
		}
		shown := *c
		if c.test == asks {
			shown.test = listed
		}
		return string(shown.appendSaid(nil, from, value)) + " does not fit"
	}
	return ""
}
