package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// drawn is a table of a rack of which the first three devices are at work.
func drawn(t *testing.T, width, height int) string {
	t.Helper()
	r, err := load("../../examples/rack-42u.yaml", platform.All())
	if err != nil {
		t.Fatal(err)
	}
	m := &tableModel{rack: r, transferred: func(string) (int64, int64) { return 4 << 20, 8 << 20 }, run: rack.NewRun(r, platform.All()), stop: func() {},
		styles: plainStyles(), began: map[string]time.Time{}, ended: map[string]time.Time{}, steps: map[string]time.Time{}}
	at := time.Unix(0, 0)
	event := func(k rack.Kind, device string, p rack.Phase, d rack.Detail) rack.Event {
		at = at.Add(time.Second)
		return rack.Event{Time: at, Rack: "r42", Device: device, Kind: k, Phase: p, Detail: d}
	}
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m.Update([]rack.Event{
		event(rack.RackStarted, "", "", rack.Detail{}), event(rack.DeviceDiscovered, "mgmt-1", rack.Discovery, rack.Detail{}), event(rack.DeviceReady, "mgmt-1", "", rack.Detail{}),
		event(rack.DeviceDiscovered, "tor-1", rack.Discovery, rack.Detail{}), event(rack.PhaseStarted, "tor-1", rack.Installation, rack.Detail{}),
		event(rack.StepStarted, "tor-1", rack.Installation, rack.Detail{Step: "image-transfer", Attempt: 2}),
		event(rack.PhaseStarted, "server-37", rack.Discovery, rack.Detail{}), event(rack.DeviceHeld, "server-37", rack.Discovery, rack.Detail{Reason: "not all switches of the rack are ready"}),
		event(rack.PhaseStarted, "server-36", rack.Discovery, rack.Detail{}), event(rack.DeviceFailed, "server-36", rack.Discovery, rack.Detail{Error: "its BMC is dead"}),
	})
	return m.text()
}

func TestTable(t *testing.T) {
	text := drawn(t, 120, 60)
	for _, want := range []string{
		"rack r42", "1/42 ready, 1 failed  imaging  9.0s",
		"mgmt-1          ████████████████████ 100%  ready           1.0s",
		"tor-1           ██░░░░░░░░░░░░░░░░░░  12%  installation", "image-transfer 4.0s, attempt 2",
		"server-37       ░░░░░░░░░░░░░░░░░░░░   0%  discovery", "held: not all switches of the rack are ready", "its BMC is dead",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colours, although there should be none")
	}
}

// In a low and narrow window nothing overflows, and what matters is shown.
func TestTableInASmallWindow(t *testing.T) {
	text := drawn(t, 80, 10)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > 10 {
		t.Errorf("%d lines in a window of 10:\n%s", len(lines), text)
	}
	for _, l := range lines {
		if n := len([]rune(l)); n > 80 {
			t.Errorf("%d columns in a window of 80: %s", n, l)
		}
	}
	for _, want := range []string{"tor-1", "server-36", "server-37", "… and 37 more"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestTableStops(t *testing.T) {
	stopped := false
	m := &tableModel{stop: func() { stopped = true }}
	m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
	if !stopped || !m.stopping {
		t.Error("ctrl-c does not stop the run")
	}
	if _, cmd := m.Update(finalFrame{}); cmd == nil || fmt.Sprintf("%T", cmd()) != "tea.QuitMsg" {
		t.Error("the table does not end with the run")
	}
}

func TestBar(t *testing.T) {
	for share, want := range map[float64]string{-1: "░░░░", 0: "░░░░", 0.5: "██░░", 1: "████", 7: "████"} {
		if got := bar(share, 4); got != want {
			t.Errorf("bar(%g) = %s", share, got)
		}
	}
}

// In half a window words go before bars: what failed must be read.
func TestTableInANarrowWindow(t *testing.T) {
	text := drawn(t, 40, 60)
	for _, want := range []string{"rack r42    3%  1/42 ready, 1 failed  i…", "mgmt-1       100%  ready", "server-36      0%  failed  its BMC is d…", "tor-1         12%  installation  image-…"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, l := range strings.Split(text, "\n") {
		if n := len([]rune(l)); n > 40 {
			t.Errorf("%d cells: %q", n, l)
		}
	}
}
