package rackagent

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/power"
)

// The login of a maker is tried when somebody asks for that, and once.
func TestPreflightDefaultLogin(t *testing.T) {
	l := newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), nil)
	look := func(try bool) (checks []Check) {
		p := &preflight{o: PreflightOptions{Rack: l.agent.o.Rack, TryDefaults: try, Credentials: l.agent.o.Credentials, Power: power.Options{Dial: l.sim.Dial, Gap: time.Millisecond}},
			tell: func(c Check) { checks = append(checks, c) }}
		p.bmc(t.Context())
		return checks
	}
	for _, c := range look(false) {
		if c.Name == "default login" {
			t.Errorf("a login was tried unasked: %+v", c)
		}
	}
	checks := look(true)
	last := checks[len(checks)-1]
	if last.Name != "default login" || last.Result != CheckOK || last.Text != "mgmt-1 refuses the login that Dell delivers" {
		t.Errorf("%+v", last)
	}
	if err := l.sim.Close(); err != nil { // nobody writes the record any more
		t.Fatal(err)
	}
	// Twice our login and the question for suite 0, and one login with suites 17 and 3.
	if n := strings.Count(l.record.String(), `"session"`); n > 6 {
		t.Errorf("%d sessions were asked for", n)
	}
}
