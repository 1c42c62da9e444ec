package platform

import (
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/printable"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// Bounds of what a step waits for in a log, and asks over HTTP.
const (
	minLine   = 4   // bytes: a shorter text is in any line
	maxLine   = 120 // bytes; a line that is kept has 300 (internal/syslog)
	maxPath   = 512 // bytes of the path of a request
	maxStates = 8   // statuses of an answer that are as good
)

// wait reads what a step waits for: evidence, or what is looked for on the network.
func (r *reader) wait(n *yaml.Node, at string, s *rack.Step) {
	if n.Kind != yaml.MappingNode {
		if n.Value == "arp" {
			s.Action = rack.AwaitARP
			return
		}
		s.Until = r.evidence(n, "evidence")
		return
	}
	m := r.Mapping(n, "wait of "+at, "syslog", "tcp")
	switch {
	case m == nil:
	case len(m) != 1:
		r.Say(n.Line, "one of syslog and tcp", "%s waits for %d things", at, len(m))
	case m["tcp"] != nil:
		s.Action, s.Port = rack.AwaitPort, r.port(m["tcp"], "tcp of "+at)
	default:
		const fix = "a text that stands in the line, of 4 to 120 plain characters, such as syslog: installation complete"
		if text, ok := r.Scalar(m["syslog"], "syslog", fix); ok {
			if len(text) < minLine || len(text) > maxLine || printable.Line(text, maxLine) != text {
				r.Say(m["syslog"].Line, fix, "%s is not a text of a line", strictyaml.Shown(text))
			}
			s.Until = rack.Said(text)
		}
	}
}

func (r *reader) port(n *yaml.Node, what string) uint16 {
	const fix = "a number from 1 to 65535"
	s, ok := r.Scalar(n, what, fix)
	if !ok {
		return 0
	}
	p, err := strconv.ParseUint(s, 10, 16)
	if err != nil || p == 0 {
		r.Say(n.Line, fix, "%s is %s", what, strictyaml.Shown(s))
		return 0
	}
	return uint16(p)
}

type (
	method      string
	scheme      string
	certificate string
)

// What is believed of the certificate of a device.
const (
	pinned    certificate = "pinned"    // the key that it showed first holds
	unchecked certificate = "unchecked" // any
)

// request reads a request to the device.
func (r *reader) request(n *yaml.Node, at string) *rack.WebRequest {
	x := &rack.WebRequest{Method: "GET", Scheme: "https"}
	m := r.Mapping(n, "http of "+at, "method", "scheme", "port", "path", "template", "type", "status", "expect", "login", "certificate")
	if m == nil {
		return x
	}
	if v, ok := m["method"]; ok {
		x.Method = string(oneOf(r, v, "a method", []method{"GET", "POST", "PUT", "PATCH", "DELETE"}))
	}
	if v, ok := m["scheme"]; ok {
		x.Scheme = string(oneOf(r, v, "a scheme", []scheme{"http", "https"}))
	}
	if v, ok := m["port"]; ok {
		x.Port = r.port(v, "port of "+at)
	}
	r.path(n, m["path"], at, x)
	if v, ok := m["template"]; ok {
		if x.Name, x.Body = r.template(v, config.Check); x.Asks() {
			r.Say(v.Line, "method: POST, or no template", "%s sends something with GET, which only asks", at)
		}
	}
	if v, ok := m["type"]; ok {
		x.Type = r.matching(v, "the type of a body", maxName, mediaType, "type: application/json")
	}
	if (x.Type == "") != (x.Name == "") {
		r.Say(n.Line, "type and template, both or neither", "%s has one of type and template", at)
	}
	x.Status = r.statuses(m["status"])
	x.Expect = r.templates(m["expect"], "expect", "expect: [a text that the answer must show]", func(text string) string { return text })
	x.Login = r.truth(m["login"], "login of "+at)
	if v, ok := m["certificate"]; ok {
		x.Unchecked = oneOf(r, v, "what is believed of a certificate", []certificate{pinned, unchecked}) == unchecked
		if x.Scheme == "http" {
			r.Say(v.Line, "scheme: https, or no certificate", "%s speaks without TLS: there is no certificate", at)
		}
	}
	if x.Unchecked && x.Login {
		r.Say(n.Line, "certificate: pinned, or no login", "%s would send a password to whoever answers at the address", at)
	}
	if x.Scheme == "http" && x.Login {
		r.Say(n.Line, "scheme: https, or no login", "%s would send a password for everybody on the network to read", at)
	}
	return x
}

// path reads where a request goes to.
func (r *reader) path(n, v *yaml.Node, at string, x *rack.WebRequest) {
	const fix = "path: and what stands behind the address, such as /api/v1/system"
	if v == nil {
		r.Say(n.Line, fix, "%s has no path", at)
		return
	}
	s, ok := r.Scalar(v, "path", fix)
	if !ok {
		return
	}
	if !strings.HasPrefix(s, "/") || len(s) > maxPath || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
		r.Say(v.Line, fix, "%s is not a path", strictyaml.Shown(s))
	} else if err := config.Check("path", s); err != nil {
		r.Say(v.Line, "a template that can be filled in: docs/platforms.md lists its values", "path: %s", why(err))
	}
	x.Path = s
}

// statuses reads which statuses of an answer are as good.
func (r *reader) statuses(n *yaml.Node) []int {
	if n == nil {
		return []int{200}
	}
	const fix = "status: [200, 204]"
	var out []int
	for _, v := range r.List(n, "status", fix, maxStates) {
		s, ok := r.Scalar(v, "status", fix)
		if !ok {
			continue
		}
		code, err := strconv.Atoi(s)
		if err != nil || code < 200 || code > 599 || slices.Contains(out, code) {
			r.Say(v.Line, fix, "%s is not a status of HTTP", strictyaml.Shown(s))
		}
		out = append(out, code)
	}
	return out
}
