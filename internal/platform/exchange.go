package platform

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// Bounds of what a step says to a device.
const (
	maxTemplate  = 256 << 10 // bytes
	maxCommands  = 64
	maxCommand   = 4 << 10 // bytes
	maxFilesSent = 16
)

var (
	revertValue  = regexp.MustCompile(`\{\{ *\.Revert(After|Clock) *\}\}`)
	templateName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)
	fileMode     = regexp.MustCompile(`^0[0-7]{3}$`)
	mediaType    = regexp.MustCompile(`^[a-z]+/[a-z0-9.+-]+$`) // RFC 9110 §8.3.1, without parameters
)

// exchange reads what a step says to a device over SSH.
func (r *reader) exchange(n *yaml.Node, at, kind string, s *rack.Step) *rack.Exchange {
	x := &rack.Exchange{}
	m := r.Mapping(n, "ssh of "+at, "files", "run", "expect", "confirm", "revertAfter")
	if m == nil {
		return x
	}
	x.RevertAfter = r.duration(m["revertAfter"], "revertAfter of "+at)
	timed := func(text string) string { return withRevert(text, x.RevertAfter) }
	if f, ok := m["files"]; ok {
		for _, one := range r.List(f, "files", "files: [{to: /etc/acme.conf, template: acme.conf}]", maxFilesSent) {
			x.Files = append(x.Files, r.sent(one, at, timed))
		}
	}
	x.Run = r.templates(m["run"], "run", "run: [a command]", timed)
	x.Expect = r.templates(m["expect"], "expect", "expect: [a text that the device must show]", timed)
	x.Confirm = r.templates(m["confirm"], "confirm", "confirm: [a command]", timed)
	switch {
	case len(x.Run) == 0:
		r.Say(n.Line, "run: and a list of commands", "%s says nothing to the device", at)
	case kind == "boot-device" && (len(x.Files)+len(x.Expect)+len(x.Confirm) > 0 || x.RevertAfter > 0):
		r.Say(n.Line, "run only", "%s does more than to send the device into its installer", at)
	case kind == "verify" && (len(x.Files) > 0 || len(x.Confirm) > 0 || x.RevertAfter > 0):
		r.Say(n.Line, "run and expect only", "%s changes a device that it is to verify", at)
	case kind == "verify" && !showsReceipt(x.Expect):
		r.Say(n.Line, `expect: ["{{.Receipt}}"], and a command that shows where configure put it`, "%s does not ask for the receipt: a device of an earlier run would pass", at)
	case kind == "verify" && slices.ContainsFunc(x.Run, func(c string) bool { return strings.Contains(c, "Receipt") }):
		r.Say(n.Line, "a command that shows what is on the device", "%s has the device repeat a receipt that it is given", at)
	case x.RevertAfter > 0 && s.Limit > 0 && x.RevertAfter >= s.Limit:
		r.Say(m["revertAfter"].Line, "less than limit of the step", "%s has a limit of %s, and the device takes its configuration back after %s", at, s.Limit, x.RevertAfter)
	case kind == "configure" && len(x.Expect) > 0:
		r.Say(n.Line, "expect at the step that verifies", "%s expects something of a configuration that is not whole yet", at)
	case (len(x.Confirm) > 0) != (x.RevertAfter > 0):
		r.Say(n.Line, "revertAfter and confirm, both or neither", "%s has one of revertAfter and confirm", at)
	case x.RevertAfter%time.Second != 0:
		r.Say(m["revertAfter"].Line, "whole seconds", "%s has a revertAfter of %s", at, x.RevertAfter)
	case x.RevertAfter > 0 && x.RevertAfter < 30*time.Second:
		r.Say(m["revertAfter"].Line, "30s or more", "%s leaves no time to confirm", at)
	}
	return x
}

// withRevert puts the time of revertAfter into a template: .RevertAfter in whole seconds,
// .RevertClock as hh:mm:ss. It is known when the file is read, and is the device's own: a
// run at another speed does not change it. Without one the template stays as it is.
func withRevert(text string, after time.Duration) string {
	if after <= 0 {
		return text
	}
	n := int(after.Seconds())
	return revertValue.ReplaceAllStringFunc(text, func(value string) string {
		if strings.Contains(value, "Clock") {
			return fmt.Sprintf("%02d:%02d:%02d", n/3600, n/60%60, n%60)
		}
		return strconv.Itoa(n)
	})
}

// showsReceipt reports whether one of the texts is the receipt, whatever the rack file
// says: a template with conditions might leave it out.
func showsReceipt(texts []string) bool {
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, "{{.Receipt}}") && strings.Count(t, "{{") == 1 })
}

// sent reads a file that is put on the device.
func (r *reader) sent(n *yaml.Node, at string, timed func(string) string) (f rack.ExchangeFile) {
	m := r.Mapping(n, "a file of "+at, "to", "template", "mode")
	if m == nil {
		return f
	}
	const to = "an absolute path of plain characters, such as /etc/acme.conf"
	if x, ok := m["to"]; !ok {
		r.Say(n.Line, "to: and "+to, "a file of %s goes nowhere", at)
	} else if s, ok := r.Scalar(x, "to", to); ok {
		if f.To = s; !path.IsAbs(s) || path.Clean(s) != s || len(s) > maxImage || strings.ContainsFunc(s, unplain) {
			r.Say(x.Line, to, "%s is no path on a device", strictyaml.Shown(s))
		}
	}
	f.Mode = 0o600
	if x, ok := m["mode"]; ok {
		const fix = `mode: "0600", four digits in quotes`
		if s, ok := r.Scalar(x, "mode", fix); ok {
			if !fileMode.MatchString(s) {
				r.Say(x.Line, fix, "mode is %s", strictyaml.Shown(s))
			} else if v, err := strconv.ParseUint(s, 8, 32); err == nil {
				f.Mode = uint32(v)
			}
		}
	}
	x, ok := m["template"]
	if !ok {
		r.Say(n.Line, "template: and the name of a file beside this one", "a file of %s has no template", at)
		return f
	}
	f.Name, f.Template = r.template(x, func(name, text string) error { return config.Check(name, timed(text)) })
	f.Template = timed(f.Template)
	return f
}

// why is the last part of an error of a template, without the places before it.
func why(err error) string {
	text := err.Error()
	return strictyaml.Shown(text[strings.LastIndex(text, ": ")+len(": "):])
}

func unplain(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./", c))
}

// templates reads a list of short templates.
func (r *reader) templates(n *yaml.Node, what, fix string, timed func(string) string) (out []string) {
	if n == nil {
		return nil
	}
	for _, x := range r.List(n, what, fix, maxCommands) {
		s, ok := r.Scalar(x, what, fix)
		if !ok {
			continue
		}
		if len(s) > maxCommand || strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) && c != '\n' && c != '\t' }) {
			r.Say(x.Line, "at most "+strconv.Itoa(maxCommand)+" bytes of plain text", "an item of %s is too long, or no plain text", what)
			continue
		}
		if revertValue.MatchString(s) && timed(s) == s {
			r.Say(x.Line, "revertAfter: and a time", "%s names the time after which the device takes its configuration back, and there is none", what)
			continue
		}
		s = timed(s)
		if err := config.Check(what, s); err != nil {
			r.Say(x.Line, "a template that can be filled in: docs/platforms.md lists its values", "%s: %s", what, why(err))
		}
		out = append(out, s)
	}
	return out
}
