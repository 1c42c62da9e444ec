package classify

import (
	"bytes"
	"reflect"
	"slices"
)

// shadowed says which rules can never say anything, because a rule before them
// applies whenever they do. It finds what the conditions alone show, and says
// nothing where it is not sure.
func (r *reader) shadowed() {
	rules := r.set.rules
	for j := range rules {
		for i := range j {
			a, b := &rules[i], &rules[j]
			why := ""
			switch {
			case !b.implies(a):
				continue
			case a.stage == b.stage && b.addsNothingTo(a):
				why = "says all that it says"
			case a.stage != "" && !joins(a.stage, b.stage) && !b.letIn(rules[:i], a):
				why = "decides stage " + string(a.stage)
			default:
				continue
			}
			r.Say(b.line, "it before "+a.name+", or leave it out", "rule %s never says anything: %s (line %d) applies whenever it does, and %s", b.name, a.name, a.line, why)
			break
		}
	}
}

// letIn reports whether a rule before a may decide a stage in which b is listened
// to and a is not.
func (w *written) letIn(before []written, a *written) bool {
	return slices.ContainsFunc(before, func(k written) bool {
		return k.stage != "" && joins(k.stage, w.stage) && !joins(k.stage, a.stage)
	})
}

// addsNothingTo reports whether a surely says every field that w may say.
func (w *written) addsNothingTo(a *written) bool {
	may := w.fills()
	return (w.device == "" || a.device != "") &&
		((w.vendor == "" && !may[fieldVendor]) || a.vendor != "") &&
		((w.model == "" && !may[fieldModel]) || a.model != "") &&
		((w.arch == "" && !may[fieldArch] && !may[fieldArchNumber]) || a.arch != "") &&
		!may[fieldSerial]
}

// implies reports whether a applies whenever w does.
func (w *written) implies(a *written) bool {
	for i := range a.when {
		at := slices.Index(w.whenFrom, a.whenFrom[i])
		if at < 0 || !w.when[at].implies(&a.when[i]) {
			return false
		}
	}
	return true
}

// implies reports whether a holds whenever c does; both look at the same option.
func (c *condition) implies(a *condition) bool {
	switch a.test {
	case present:
		return c.test != absent
	case absent:
		return c.test == absent
	case fits:
		return c.test == fits && !slices.ContainsFunc(c.patterns, func(p pattern) bool {
			return !slices.ContainsFunc(a.patterns, func(q pattern) bool { return q.contains(&p) })
		})
	case oneOf:
		return c.test == oneOf && !slices.ContainsFunc(c.numbers, func(n uint16) bool { return !slices.Contains(a.numbers, n) })
	case asks:
		return (c.test == asks || c.test == listed) && !slices.ContainsFunc(a.codes, func(n byte) bool { return bytes.IndexByte(c.codes, n) < 0 })
	case listed:
		return c.test == listed && bytes.Equal(a.codes, c.codes)
	}
	return c.test == keyed && reflect.DeepEqual(a.keys, c.keys)
}
