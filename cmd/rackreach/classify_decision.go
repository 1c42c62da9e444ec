package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// decision is what a sender is taken for, and why, for -o json too.
type decision struct {
	Packets []int    `json:"packets,omitempty"` // the first of them, by their number in the file
	Count   int      `json:"count,omitempty"`
	Message string   `json:"message,omitempty"`
	MAC     string   `json:"mac,omitempty"`
	VLANs   []uint16 `json:"vlans,omitempty"`
	Relay   string   `json:"relay,omitempty"`
	Sent    []string `json:"sent"`

	Class    string         `json:"class,omitempty"`
	Stage    string         `json:"stage"`
	Vendor   string         `json:"vendor,omitempty"`
	Model    string         `json:"model,omitempty"`
	Serial   string         `json:"serial,omitempty"`
	Arch     string         `json:"arch,omitempty"`
	Evidence string         `json:"evidence,omitempty"`
	Open     []string       `json:"open"`
	Rules    []appliedRule  `json:"rules"`
	Missed   []missedRule   `json:"missed,omitempty"`
	Tried    int            `json:"tried"`
	fields   []decidedField // for people
}

// appliedRule is a rule, or a table, that applied.
type appliedRule struct {
	Rule    string      `json:"rule"`
	File    string      `json:"file,omitempty"`
	Line    int         `json:"line,omitempty"`
	Source  string      `json:"source,omitempty"`
	Mark    string      `json:"mark,omitempty"`
	Matched []string    `json:"matched"`
	Gave    []gaveField `json:"gave,omitempty"`
	Passed  string      `json:"passedOver,omitempty"`
}

type gaveField struct {
	Field string `json:"field"`
	Value string `json:"value"`
	From  string `json:"from,omitempty"`
}

// missedRule is a rule of the user's file that did not apply.
type missedRule struct {
	Rule string `json:"rule"`
	Line int    `json:"line"`
	Why  string `json:"why"`
}

// decidedField is one line of the table.
type decidedField struct{ name, value, rule, because string }

func decisionOf(rules *classify.Rules, p classify.Packet) *decision {
	e := rules.Explain(p)
	c := e.Class
	d := &decision{Sent: append([]string{}, p.Sent()...), Class: string(c.Device), Stage: string(c.Stage), Vendor: c.Vendor, Model: c.Model, Serial: c.Serial, Arch: c.Arch,
		Evidence: c.Evidence, Open: append([]string{}, e.Open...), Rules: []appliedRule{}, Tried: e.Tried}
	for _, s := range e.Steps {
		a := appliedRule{Rule: s.Rule, File: s.File, Line: s.Line, Source: s.Source, Mark: s.Mark, Matched: s.Matched, Passed: s.Passed}
		for _, g := range s.Gave {
			a.Gave = append(a.Gave, gaveField(g))
		}
		d.Rules = append(d.Rules, a)
	}
	for _, m := range e.Missed {
		d.Missed = append(d.Missed, missedRule(m))
	}
	for _, f := range []struct{ name, value string }{{"class", d.Class}, {"stage", d.Stage}, {"vendor", d.Vendor}, {"model", d.Model}, {"serial", d.Serial}, {"arch", d.Arch}} {
		d.fields = append(d.fields, d.decided(f.name, f.value))
	}
	return d
}

// decided finds the rule that gave a field its value.
func (d *decision) decided(name, value string) decidedField {
	out := decidedField{name: name, value: "-", rule: "open"}
	if slices.Contains(d.Open, name) {
		return out
	}
	out.value = value
	for _, r := range d.Rules {
		for _, g := range r.Gave {
			if g.Field != name || g.Value != value {
				continue
			}
			out.rule, out.because = r.Rule, strings.Join(r.Matched, " ")
			if g.From != "" && g.From != "MAC" && !slices.ContainsFunc(r.Matched, func(m string) bool { return strings.HasPrefix(m, g.From+"=") }) {
				out.because += ", read from option " + g.From
			}
		}
	}
	return out
}

// print is the decision for people. own is the file of the user's rules.
func (d *decision) print(p *printer, own string) {
	p.line("sent %s", strings.Join(d.Sent, " "))
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	t := printer{w: w}
	t.line("FIELD\tVALUE\tRULE\tBECAUSE OF")
	for _, f := range d.fields {
		t.line("%s\t%s\t%s\t%s", f.name, f.value, f.rule, f.because)
	}
	if err := w.Flush(); p.err == nil {
		p.err = err
	}
	for line := range strings.Lines(table.String()) {
		p.line("%s", strings.TrimRight(line, " \n"))
	}
	for _, r := range d.Rules {
		switch {
		case r.Passed != "":
			p.line("rule %s applies too, because of %s: %s", r.Rule, strings.Join(r.Matched, " "), r.Passed)
		case r.File == own && own != "":
			p.line("rule %s stands in %s:%d", r.Rule, r.File, r.Line)
		case r.Source != "":
			p.line("source of rule %s: %s", r.Rule, sourced(r))
		}
	}
	for _, m := range d.Missed {
		p.line("rule %s (%s:%d) does not apply: %s", m.Rule, own, m.Line, m.Why)
	}
	p.line("%s", d.summary(own))
	if d.Stage == string(rack.StageUnknown) {
		p.line("No rule knows its stage. A rule of your own can: docs/discovery.md says how.")
	}
}

// sourced says where the strings of an embedded rule are from.
func sourced(r appliedRule) string {
	kind := map[string]string{"V": "captured", "S": "source code or the vendor's documents", "D": "other documents", "R": "standard", "O": "our own"}[r.Mark]
	return fmt.Sprintf("%s (%s)", r.Source, kind)
}

// summary says how many rules were tried.
func (d *decision) summary(own string) string {
	if own == "" {
		return fmt.Sprintf("%d rules were tried.", d.Tried)
	}
	return fmt.Sprintf("%d rules were tried, those of %s first.", d.Tried, own)
}
