package platform

import (
	"slices"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// TestEveryPlatformIsSound holds what the machine relies on, in other words than the
// product's.
func TestEveryPlatformIsSound(t *testing.T) {
	for name, p := range All() {
		if p.Name != name {
			t.Errorf("%s is called %s", name, p.Name)
		}
		checkSound(t, &p)
	}
}

func checkSound(t *testing.T, p *rack.Platform) {
	t.Helper()
	name := p.Name
	if len(p.Roles) == 0 || p.Image == "" || p.TicketEnds == rack.NoEvidence || p.Description == "" || len(p.Match.Stages) == 0 || len(p.Steps) == 0 {
		t.Fatalf("%s: %+v", name, p)
	}
	if p.Provision != nil {
		waits := slices.ContainsFunc(p.Steps, func(s rack.Step) bool { return s.Phase == rack.Installation && s.Until == p.TicketEnds })
		if len(p.Provision.Documents) == 0 || p.Provision.Documents[0].Name == "" || p.TicketEnds == rack.DHCPNOS || p.TicketEnds == rack.FetchedImage || !waits || p.Fits(rack.Server) {
			t.Errorf("%s: what it gives at the first boot is asked for when the ticket is closed, or by nobody: %+v", name, p.Provision)
		}
	}
	phase, seen, issued := 0, map[string]int{}, ""
	for i, s := range p.Steps {
		at := slices.Index(rack.Phases(), s.Phase)
		if at < phase || seen[s.Name] > 0 || s.Limit <= 0 {
			t.Errorf("%s: step %s is out of order, there twice, or without a limit", name, s.Name)
		}
		phase = at
		seen[s.Name] = i + 1
		if s.Retries > 0 && s.Backoff <= 0 {
			t.Errorf("%s: step %s is retried without a pause", name, s.Name)
		}
		if (s.Action == rack.AwaitPort) != (s.Port != 0) || (s.Action == rack.Request) != (s.HTTP != nil) {
			t.Errorf("%s: step %s looks for nothing, or asks nothing", name, s.Name)
		}
		if (s.Action == rack.Wait) != (s.Until != rack.NoEvidence) {
			t.Errorf("%s: step %s must either act or wait", name, s.Name)
		}
		if s.RetryFrom != "" && (seen[s.RetryFrom] == 0 || p.Steps[seen[s.RetryFrom]-1].Phase != s.Phase) {
			t.Errorf("%s: step %s is retried from %q, which is no earlier step of its phase", name, s.Name, s.RetryFrom)
		}
		// Every failed step of an installation closes its ticket
		// (rack.Run): whatever is tried again must begin with a new one.
		if s.Phase == rack.Installation && s.Retries > 0 && s.Action != rack.IssueTicket && s.RetryFrom != issued {
			t.Errorf("%s: step %s is retried without a ticket", name, s.Name)
		}
		if s.Action == rack.IssueTicket {
			issued = s.Name
		}
		if s.Destructive && issued == "" {
			t.Errorf("%s: step %s writes without a ticket", name, s.Name)
		}
		if last := p.Steps[len(p.Steps)-1]; last.Action != rack.VerifyDevice {
			t.Errorf("%s ends with %s: only a verification makes a device ready", name, last.Name)
		}
	}
	for _, r := range p.Roles {
		gated(t, *p, r)
	}
}

// gated holds design §3: nothing powers a server on, changes its boot device or
// gives it a ticket before all switches are ready.
func gated(t *testing.T, p rack.Platform, r rack.Role) {
	t.Helper()
	if r != rack.Server {
		return
	}
	for _, s := range p.Steps {
		switch s.Action {
		case rack.BootPXE, rack.PowerOn, rack.PowerCycle, rack.IssueTicket:
			if !slices.Contains(s.Needs, rack.SwitchesReady) {
				t.Errorf("%s: step %s does not wait for the switches", p.Name, s.Name)
			}
		}
		if s.Action == rack.IssueTicket && !slices.Contains(s.Needs, rack.DataOpen) {
			t.Errorf("%s: a ticket needs an open data route", p.Name)
		}
	}
}

func TestScaled(t *testing.T) {
	const floor = 10 * time.Second
	real, fast := All()[SimServer], Scaled(All(), 60, floor)[SimServer]
	for i, s := range fast.Steps {
		if want := max(real.Steps[i].Limit/60, floor); s.Limit != want {
			t.Errorf("%s: %s, want %s", s.Name, s.Limit, want)
		}
		if s.Backoff < floor/20 {
			t.Errorf("%s: backoff %s", s.Name, s.Backoff)
		}
	}
	if All()[SimServer].Steps[0].Limit != real.Steps[0].Limit {
		t.Error("scaling changed the table")
	}
}
