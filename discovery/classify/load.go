package classify

import (
	"embed"
	"fmt"
	"slices"
	"sync"

	"github.com/rackreach/rackreach/internal/strictyaml"
)

//go:embed rules/*.yaml
var embedded embed.FS

// embeddedFiles are the files under rules, in their order.
var embeddedFiles = [...]string{"rules/devices.yaml", "rules/architectures.yaml", "rules/ouis.yaml"}

// builtIn reads the embedded files, once. They are the same for everybody and
// never change.
var builtIn = sync.OnceValues(func() ([]*set, error) {
	var out []*set
	for _, name := range embeddedFiles {
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, err := parse(name, data)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
})

var builtInRules = sync.OnceValues(func() (*Rules, error) {
	sets, err := builtIn()
	if err != nil {
		return nil, err
	}
	return build(sets)
})

// Default is the rules that rackreach comes with. It panics when they cannot be
// read, which a test excludes.
func Default() *Rules {
	r, err := builtInRules()
	if err != nil {
		panic("the embedded rules: " + err.Error())
	}
	return r
}

// Load reads the rules file at path and puts its rules before the embedded ones.
// A rule of the same name takes the place of an embedded one. Its error is of
// type Problems.
func Load(path string) (*Rules, error) {
	data, err := strictyaml.Read(path, MaxFileSize)
	if err != nil {
		return nil, Problems{{File: path, What: strictyaml.Unreadable(err), Fix: "the path of a rules file"}}
	}
	return Parse(path, data)
}

// Parse is Load of a file that is in memory; name stands for it in messages.
func Parse(name string, data []byte) (*Rules, error) {
	own, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	for i := range own.rules {
		own.rules[i].own = true
	}
	sets, err := builtIn()
	if err != nil {
		return nil, err
	}
	r, err := build(append([]*set{own}, sets...))
	if err != nil {
		return nil, Problems{{File: name, What: err.Error(), Fix: "rules on fewer options"}}
	}
	return r, nil
}

// build joins sets of rules; what comes first counts.
func build(sets []*set) (*Rules, error) {
	out := &Rules{archs: map[int]string{}, ouis: map[oui]string{}}
	var all []written
	seen := map[string]bool{}
	for _, s := range sets {
		for _, w := range s.rules {
			if !seen[w.name] {
				all = append(all, w)
			}
		}
		for _, w := range s.rules {
			seen[w.name] = true
		}
		for n, name := range s.archs {
			if _, ok := out.archs[n]; !ok {
				out.archs[n] = name
			}
		}
		for n, name := range s.ouis {
			if _, ok := out.ouis[n]; !ok {
				out.ouis[n] = name
			}
		}
	}
	out.sources = append(out.sources, source{code: optionArch, sub: -1}) // Classify itself looks at it
	for i := range all {
		out.sources = append(append(out.sources, all[i].whenFrom...), all[i].readFrom...)
	}
	slices.SortFunc(out.sources, source.compare)
	out.sources = slices.Compact(out.sources)
	if len(out.sources) > maxSources {
		return nil, fmt.Errorf("all rules together look at %d options, more than %d", len(out.sources), maxSources)
	}
	for i := range all {
		out.rules = append(out.rules, out.placed(&all[i]))
	}
	out.byArch.test = oneOf
	out.byArch.from = slices.Index(out.sources, source{code: optionArch, sub: -1})
	return out, nil
}

// placed is a rule whose conditions know the places of their sources.
func (r *Rules) placed(w *written) rule {
	out := w.rule
	place := func(list []condition, from []source) []condition {
		list = slices.Clone(list)
		for i := range list {
			list[i].from, _ = slices.BinarySearchFunc(r.sources, from[i], source.compare)
			if t := list[i].test; t == fits || t == keyed {
				r.asText |= 1 << list[i].from
			}
		}
		return list
	}
	out.when = place(w.when, w.whenFrom)
	out.reads = place(w.reads, w.readFrom)
	for _, c := range out.when {
		if c.test == absent {
			out.without |= 1 << c.from
		} else {
			out.need |= 1 << c.from
		}
	}
	return out
}
