package access

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// BenchmarkJudge is what it costs to find out who calls and whether they may.
func BenchmarkJudge(b *testing.B) {
	tokens := NewTokens(&memory{})
	secret, _, err := tokens.Create(b.Context(), "ci", Viewer, "", time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	gate, header := NewGate(GateOptions{Tokens: tokens, Log: quiet}), http.Header{"Authorization": {"Bearer " + secret}}
	for b.Loop() {
		if _, err := gate.judge(b.Context(), messagesconnect.RackServiceGetRackProcedure, header, "192.0.2.1:1", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOrder is what it costs to write an order down, durably.
func BenchmarkOrder(b *testing.B) {
	a, err := OpenAudit(filepath.Join(b.TempDir(), "audit.jsonl"), 0)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := a.Write(Entry{Who: "ci", Role: "operator", From: "192.0.2.1:1", Procedure: messagesconnect.RackServiceHaltRackProcedure, Resource: "racks/r1"}); err != nil {
			b.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		b.Fatal(err)
	}
}
