//go:build lab

package lab

import (
	"strings"
	"testing"
)

// TestJudgeKeys: the key of another device, or of an earlier life, is not that of a device.
func TestJudgeKeys(t *testing.T) {
	file := []byte(`{"device":"server-01","life":"t-1","key":"ssh-ed25519 AAAA1"}
{"device":"server-02","life":"t-1","key":"ssh-ed25519 AAAA2"}
{"device":"server-01","life":"t-2","key":"ssh-ed25519 AAAA3"}
{"device":"server-02","life":"t-2","key":"ssh-
`)
	for device, want := range map[string]string{"server-01": "ssh-ed25519 AAAA3", "server-02": "ssh-ed25519 AAAA2", "server-03": ""} {
		if got := pinnedKey(file, device); got != want {
			t.Errorf("the key of %s is %q, want %q", device, got, want)
		}
	}
}

// TestJudgeTickets: a ticket counts whenever it was issued.
func TestJudgeTickets(t *testing.T) {
	events := []event{{Seq: 1, Time: after(1), Device: "tor-1", Event: "ticket-issued"}, {Seq: 2, Time: after(2), Device: "server-01", Event: "component-ambiguous"}}
	if err := notTicketed(events, "tor-1", "server-01", "server-02"); err != nil {
		t.Error(err)
	}
	late := append(events, event{Seq: 3, Time: after(90), Device: "server-01", Event: "ticket-issued"})
	if err := notTicketed(late, "tor-1", "server-01"); err == nil || !strings.Contains(err.Error(), "server-01 got a ticket") {
		t.Errorf("of a late ticket it is said: %v", err)
	}
	if err := notTicketed(events[1:], "tor-1", "server-01"); err == nil || !strings.Contains(err.Error(), "of no ticket of tor-1") {
		t.Errorf("of a journal without tickets it is said: %v", err)
	}
}
