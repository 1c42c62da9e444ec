package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/secret"
)

// secretsOf are the secrets that this machine knows of and that a support bundle must not
// hold: what the references of the rack stand for, tokens of coordinators, and those of
// the tickets. unread are the references that cannot be read here.
func secretsOf(h history, stateDir string, env func(string) (string, bool)) (known, unread []string) {
	for _, reference := range referencesIn(h) {
		v, err := secret.Reader{Env: env}.Read(reference)
		if err != nil {
			unread = append(unread, reference)
			continue
		}
		known = append(known, v.Reveal())
		if _, password, ok := v.Login(); ok {
			known = append(known, password)
		}
	}
	if c, err := readConfig(env); err == nil {
		for _, x := range c.Contexts {
			known = append(known, x.Token)
		}
	}
	for _, name := range []string{"RACKREACH_TOKEN", "RACKREACH_ENROLL_TOKEN"} {
		if v, ok := env(name); ok {
			known = append(known, v)
		}
	}
	if home, err := homeOf(stateDir, env); err == nil {
		if b := home.Rack(h.plan.Rack.Name).TokenSecret(); b != nil {
			known = append(known, string(b))
			for _, e := range h.events {
				if e.Kind == rack.TicketIssued {
					known = append(known, boot.Token(b, e.Detail.Ticket))
				}
			}
		}
	}
	return known, unread
}

// referencesIn are the references to secrets that stand anywhere in what a run carries
// out, sorted.
func referencesIn(h history) []string {
	found := map[string]bool{}
	var look func(any)
	look = func(v any) {
		switch x := v.(type) {
		case string:
			if _, _, ok := rack.Reference(x); ok {
				found[x] = true
			}
		case []any:
			for _, y := range x {
				look(y)
			}
		case map[string]any:
			for _, y := range x {
				look(y)
			}
		}
	}
	if b, err := json.Marshal(h.plan); err == nil {
		var v any
		if json.Unmarshal(b, &v) == nil {
			look(v)
		}
	}
	return slices.Sorted(maps.Keys(found))
}
