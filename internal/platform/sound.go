package platform

import (
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// sound holds what the core's machine, and the promise that nothing is wiped on a
// guess, rely on.
func (r *reader) sound() {
	if len(r.Problems) > 0 {
		return // of what is not whole nothing can be said
	}
	d := &r.d
	missing := func(ok bool, what, fix string) {
		if !ok {
			r.Say(r.line("name"), fix, "%s has no %s", d.Name, what)
		}
	}
	missing(len(d.Roles) > 0, "roles", "roles: [tor-switch]")
	missing(len(d.Match.Stages) > 0, "boot stages", "match: {stages: [onie, nos]}")
	missing(d.Image != "", "image", "image: and the name of an artifact of the bundle")
	missing(d.Description != "", "description", "description: and a line that says what it is for")
	missing(d.TicketEnds != rack.NoEvidence, "ticketEnds", "ticketEnds: and the evidence that its destructive job is over, such as reported:installed")
	if len(d.Steps) == 0 {
		missing(false, "steps", "steps: {discovery: […], installation: […], configuration: […]}, or like: and another platform")
		return
	}
	r.simulated()
	if d.Status == Untested && !d.Own && len(d.Unseen) == 0 {
		missing(false, "list of what was not seen", "unseen: [a sentence for each]")
	}
	r.order()
	r.provisioned()
	r.onWire()
	r.comesBack()
	for _, role := range d.Roles {
		if role == rack.Server {
			r.gated()
			if d.Neighbours != nil || d.MACs != nil {
				r.Say(r.line("name"), "neighbours and macs at platforms of switches", "%s is of servers, and is asked for its ports", d.Name)
			}
		}
	}
	if last := d.Steps[len(d.Steps)-1]; last.Action != rack.VerifyDevice {
		r.Say(r.at(last), "verify: as the last step of configuration", "%s ends with %s: only a verification makes a device ready", d.Name, last.Name)
	}
}

// simulated holds that what speaks to simulated devices is not taken for more. A file
// that says nothing of its status is simulated if a step of it is, and else untested.
func (r *reader) simulated() {
	switch s := r.d.Platform.Simulated(); {
	case r.d.Status == "" && s != nil:
		r.d.Status = Simulated
	case r.d.Status == "":
		r.d.Status = Untested
	case r.d.Status != Simulated && s != nil:
		r.Say(r.at(*s), "ssh: at that step, or status: simulated", "step %s speaks to simulated devices only, and the platform is said to be %s", s.Name, r.d.Status)
	}
}

// onWire holds that a simulated platform waits for nothing that a simulated rack does not
// have.
func (r *reader) onWire() {
	if s := r.d.OnWire(); s != nil && r.d.Status == Simulated {
		r.Say(r.at(*s), "a step that a simulated device can complete: evidence of DHCP, a report, or tcp", "step %s waits for %s, and a simulated rack stands on loopback, where there is neither ARP nor syslog", s.Name, s.Wanted())
	}
}

// comesBack holds that the switch through which everything else is reached takes back by
// itself what cuts us off.
func (r *reader) comesBack() {
	if !slices.Contains(r.d.Roles, rack.ManagementSwitch) {
		return
	}
	for _, s := range r.d.Steps {
		if s.Action == rack.PushConfig && s.SSH != nil && s.SSH.RevertAfter == 0 {
			r.Say(r.at(s), "revertAfter: and a time, a command that has the switch take its configuration back after it, and confirm:", "step %s configures the switch that everything is reached through, with no way back", s.Name)
		}
	}
}

// at is the line of a step, or of what it was inherited by.
func (r *reader) at(s rack.Step) int {
	if l := r.lines[s.Name]; l != 0 {
		return l
	}
	return r.line("like")
}

// order checks the steps one after the other.
func (r *reader) order() {
	d := &r.d
	seen, ticket, stages, ends, writing := map[string]rack.Phase{}, "", map[rack.Phase]bool{}, false, false
	for _, s := range d.Steps {
		stages[s.Phase] = true
		line := r.at(s)
		if _, ok := seen[s.Name]; ok {
			r.Say(line, "another name", "two steps are called %s", s.Name)
		}
		if s.Limit <= 0 {
			r.Say(line, "limit: and how long one attempt may take", "step %s has no limit", s.Name)
		}
		if s.Retries > 0 && s.Backoff <= 0 {
			r.Say(line, "backoff: and the pause before the first retry", "step %s is retried without a pause", s.Name)
		}
		if from := s.RetryFrom; from != "" && seen[from] != s.Phase {
			r.Say(line, "the name of an earlier step of the same phase", "step %s is retried from %s, which is none", s.Name, from)
		}
		if s.Action == rack.IssueTicket {
			if ticket != "" || s.Phase != rack.Installation {
				r.Say(line, "serve: image once, as a step of installation", "step %s serves an image out of place", s.Name)
			}
			ticket = s.Name
		}
		// Every failed step of an installation closes its ticket (rack.Run): whatever is
		// tried again must begin with a new one.
		if s.Phase == rack.Installation && s.Retries > 0 && s.Action != rack.IssueTicket && s.RetryFrom != ticket {
			r.Say(line, "retryFrom: and the step that serves the image", "step %s is retried without a new ticket", s.Name)
		}
		if s.Destructive && ticket == "" {
			r.Say(line, "a step serve: image before it", "step %s writes without a ticket", s.Name)
		}
		waits := s.Phase == rack.Installation && ticket != "" && s.Action == rack.Wait
		ends = ends || waits && s.Until == d.TicketEnds
		if waits && (s.Until == rack.FetchedImage || s.Until == d.TicketEnds) && !s.Destructive {
			r.Say(line, "destructive: true", "step %s waits for a device that is writing, and does not say so: it might be power-cycled", s.Name)
		}
		if s.Destructive && s.Action != rack.Wait {
			r.Say(line, "destructive only at steps that wait for evidence of a device that may be writing", "step %s acts itself", s.Name)
		}
		writing = writing && s.Phase == rack.Installation
		// What is looked for or asked after the ticket comes when it likes: the device may
		// have begun to write.
		_, said := s.Until.Line()
		beside := ticket != "" && !ends && s.Phase == rack.Installation && (said || s.Action == rack.Request || s.Action.Looks() && s.Action != rack.Wait)
		switch {
		case !writing && !beside || s.Destructive:
		case s.Action == rack.Wait:
			r.Say(line, "destructive: true", "step %s waits for a device that may be writing, and does not say so: it might be power-cycled", s.Name)
		case s.Retries > 0:
			r.Say(line, "no retries at that step", "step %s is tried again, with a new ticket, while the device may be writing", s.Name)
		}
		writing = writing || s.Destructive
		writing = writing && s.Until != d.TicketEnds
		if s.Action == rack.Request && s.Phase != rack.Configuration && !s.HTTP.Asks() {
			r.Say(line, "method: GET, or the step in configuration", "step %s changes a device that is not installed yet", s.Name)
		}
		if s.Action == rack.PushConfig && s.Phase != rack.Configuration {
			r.Say(line, "the step in configuration", "step %s changes a device that is not installed yet", s.Name)
		}
		if s.OnRetry && s.RetryFrom == "" {
			r.Say(line, "retryFrom: and the step that a retry begins with", "step %s is for retries, but not after any", s.Name)
		}
		seen[s.Name] = s.Phase
	}
	for _, p := range rack.Phases() {
		if !stages[p] {
			r.Say(r.line("steps"), "steps of "+string(p), "%s has no step of %s", d.Name, p)
		}
	}
	if ticket != "" && !ends {
		r.Say(r.line("steps"), "a step wait: "+string(d.TicketEnds)+" after it, in installation", "%s does not wait for the end of what its ticket is for: a device that was not installed would be configured", d.Name)
	}
	if ticket == "" {
		r.Say(r.line("steps"), "a step serve: image in installation", "%s never serves an image", d.Name)
	}
}

// gated holds design §3: nothing powers a server on, changes its boot device or gives
// it a ticket before all switches are ready.
func (r *reader) gated() {
	need := func(s rack.Step, gates ...rack.Gate) {
		for _, g := range gates {
			if !slices.Contains(s.Needs, g) {
				r.Say(r.at(s), "needs: ["+strings.Trim(strings.Join(strs(append(slices.Clone(s.Needs), g)), ", "), ", ")+"]", "step %s of a server does not wait for %s", s.Name, g)
			}
		}
	}
	for _, s := range r.d.Steps {
		switch s.Action {
		case rack.BMCLogin:
			need(s, rack.ManagementOpen)
		case rack.BootPXE, rack.PowerOn, rack.PowerCycle:
			need(s, rack.SwitchesReady, rack.ManagementOpen, rack.DataReady)
		case rack.IssueTicket:
			need(s, rack.SwitchesReady, rack.DataOpen)
		case rack.BootInstaller:
			r.Say(r.at(s), "boot-device: network", "step %s of a server boots an installer that only switches have", s.Name)
		}
	}
}

func strs[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, x := range in {
		out[i] = string(x)
	}
	return out
}
