package main

import (
	"testing"

	"github.com/rackreach/rackreach/messages"
)

// An unsigned bundle stands behind its rack in the fleet.
func TestFleetNoteOfABundle(t *testing.T) {
	r := &messages.FleetRack{Bundle: "1@sha256:a", SignedBy: "nobody", Orders: 2}
	if got, want := fleetNote(r), "images of the UNSIGNED bundle 1@sha256:a (--allow-unsigned); 2 orders not answered"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.SignedBy = "0123456789abcdef"
	if got, want := fleetNote(r), "2 orders not answered"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
