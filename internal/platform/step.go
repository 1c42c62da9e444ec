package platform

import (
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// kinds are the kinds of a step: what it may do, by its words. A step that waits has no
// action.
var kinds = map[string]map[string]rack.Action{
	"power":       {"login": rack.BMCLogin, "on": rack.PowerOn, "cycle": rack.PowerCycle},
	"boot-device": {"network": rack.BootPXE, "installer": rack.BootInstaller},
	"serve":       {"image": rack.IssueTicket},
	"configure":   {"simulated": rack.PushConfig},
	"verify":      {"simulated": rack.VerifyDevice},
}

// kindNames are the kinds in the order in which people are told of them.
var kindNames = []string{"power", "boot-device", "serve", "wait", "http", "configure", "verify"}

var stepKeys = append([]string{"name", "needs", "unless", "limit", "retries", "backoff", "weight", "destructive", "uninterruptible", "retryFrom", "onRetry", "onReimage"}, kindNames...)

func (r *reader) phases() {
	n, ok := r.keys["steps"]
	if !ok {
		return
	}
	names := make([]string, 0, len(rack.Phases()))
	for _, p := range rack.Phases() {
		names = append(names, string(p))
	}
	m := r.Mapping(n, "steps", names...)
	for _, p := range rack.Phases() {
		x, ok := m[string(p)]
		if !ok {
			continue
		}
		r.steps[p] = []rack.Step{}
		for _, s := range r.List(x, "the steps of "+string(p), "a list of steps, such as [{name: onie, wait: dhcp:onie, limit: 10m}]", maxSteps) {
			r.steps[p] = append(r.steps[p], r.step(s, p))
		}
	}
}

func (r *reader) step(n *yaml.Node, p rack.Phase) rack.Step {
	s := rack.Step{Phase: p}
	m := r.Mapping(n, "a step", stepKeys...)
	if m == nil {
		return s
	}
	if x, ok := m["name"]; ok {
		s.Name = r.name(x, "a step")
	} else {
		r.Say(n.Line, "name: and one in lower case letters, digits and -", "a step has no name")
	}
	at := "step " + s.Name
	if s.Name != "" {
		if r.lines[s.Name] != 0 {
			r.Say(n.Line, "another name", "two steps are called %s", s.Name)
		}
		r.lines[s.Name] = n.Line
	}
	s.Limit = r.duration(m["limit"], "limit of "+at)
	r.kind(n, m, at, &s)
	if x, ok := m["needs"]; ok {
		for _, g := range r.List(x, "needs", "needs: [data-ready]", maxItems) {
			s.Needs = append(s.Needs, oneOf(r, g, "a gate", rack.AllGates()))
		}
	}
	if x, ok := m["unless"]; ok {
		for _, e := range r.List(x, "unless", "unless: [reported:failed]", maxItems) {
			s.Unless = append(s.Unless, r.evidence(e, "evidence"))
		}
	}
	s.Backoff = r.duration(m["backoff"], "backoff of "+at)
	s.Retries = r.number(m["retries"], "retries of "+at, maxTries)
	s.Weight = r.number(m["weight"], "weight of "+at, maxWeight)
	s.Destructive = r.truth(m["destructive"], "destructive of "+at)
	s.Uninterruptible = r.truth(m["uninterruptible"], "uninterruptible of "+at)
	s.OnRetry = r.truth(m["onRetry"], "onRetry of "+at)
	s.OnReimage = r.truth(m["onReimage"], "onReimage of "+at)
	if x, ok := m["retryFrom"]; ok {
		s.RetryFrom = r.name(x, "a step")
	}
	return s
}

// kind reads the one thing that a step does or waits for.
func (r *reader) kind(n *yaml.Node, m map[string]*yaml.Node, at string, s *rack.Step) {
	var given []string
	for _, k := range kindNames {
		if m[k] != nil {
			given = append(given, k)
		}
	}
	if len(given) != 1 {
		what := "nothing"
		if len(given) > 1 {
			what = strings.Join(given, " and ")
		}
		r.Say(n.Line, "one of "+strings.Join(kindNames, ", "), "%s does %s", at, what)
		return
	}
	k := given[0]
	switch k {
	case "wait":
		r.wait(m[k], at, s)
		return
	case "http":
		s.Action, s.HTTP = rack.Request, r.request(m[k], at)
		return
	}
	if (k == "configure" || k == "verify" || k == "boot-device") && m[k].Kind == yaml.MappingNode {
		s.Action = map[string]rack.Action{"configure": rack.PushConfig, "verify": rack.VerifyDevice, "boot-device": rack.BootInstaller}[k]
		switch x := r.Mapping(m[k], k, "ssh"); {
		case x == nil:
		case x["ssh"] == nil:
			r.Say(m[k].Line, k+": {ssh: {run: [a command]}}", "%s of %s says nothing", k, at)
		default:
			s.SSH = r.exchange(x["ssh"], at, k, s)
		}
		return
	}
	var words []string
	for _, w := range []string{"login", "on", "cycle", "network", "installer", "image", "simulated"} {
		if _, ok := kinds[k][w]; ok {
			words = append(words, w)
		}
	}
	fix := "one of " + strings.Join(words, ", ")
	if w, ok := r.Scalar(m[k], k, fix); ok {
		if s.Action, ok = kinds[k][w]; !ok {
			r.Say(m[k].Line, fix, "%s has no %s", k, strictyaml.Shown(w))
		}
	}
}

func (r *reader) duration(n *yaml.Node, what string) time.Duration {
	if n == nil {
		return 0
	}
	const fix = "a duration such as 90s, 10m or 1h, up to 24h"
	s, ok := r.Scalar(n, what, fix)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > maxLimit {
		r.Say(n.Line, fix, "%s is %s", what, strictyaml.Shown(s))
		return 0
	}
	return d
}

func (r *reader) number(n *yaml.Node, what string, most int) int {
	if n == nil {
		return 0
	}
	fix := "a number from 0 to " + strconv.Itoa(most)
	s, ok := r.Scalar(n, what, fix)
	if !ok {
		return 0
	}
	i, err := strconv.Atoi(s)
	if err != nil || i < 0 || i > most {
		r.Say(n.Line, fix, "%s is %s", what, strictyaml.Shown(s))
		return 0
	}
	return i
}

func (r *reader) truth(n *yaml.Node, what string) bool {
	if n == nil {
		return false
	}
	s, ok := r.Scalar(n, what, "true or false")
	if ok && s != "true" && s != "false" {
		r.Say(n.Line, "true or false", "%s is %s", what, strictyaml.Shown(s))
	}
	return s == "true"
}

// Does is what a step does, in the words of a platform file.
func Does(s *rack.Step) string {
	switch text, said := s.Until.Line(); {
	case said:
		return "wait: syslog " + strconv.Quote(text)
	case s.Action == rack.Wait:
		return "wait: " + string(s.Until)
	case s.Action == rack.AwaitPort:
		return "wait: tcp " + strconv.Itoa(int(s.Port))
	case s.Action == rack.AwaitARP:
		return "wait: arp"
	case s.Action == rack.Request:
		return "http: " + s.HTTP.Method + " " + s.HTTP.Scheme + " " + s.HTTP.Path
	}
	for kind, words := range kinds {
		for word, action := range words {
			if action == s.Action && s.SSH != nil {
				return kind + ": ssh"
			} else if action == s.Action {
				return kind + ": " + word
			}
		}
	}
	return string(s.Action)
}
