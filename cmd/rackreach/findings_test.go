package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// TestFindingsOfARun: what a run ends with is all that it found of the hardware that is there.
func TestFindingsOfARun(t *testing.T) {
	said := func(k rack.Kind, device, reason string) rack.Event {
		return rack.Event{Kind: k, Device: device, Detail: rack.Detail{Reason: reason}}
	}
	zero, known := said(rack.WeaknessFound, "server-01", "cipher suite 0"), said(rack.WeaknessFound, "server-01", "a login that everybody knows")
	quiet := said(rack.DeviceFinding, "server-01", "nothing was heard through tor-2:1")
	many := []rack.Event{quiet}
	for i := range 2 * maxFindings {
		many = append(many, said(rack.WeaknessFound, "server-01", fmt.Sprint(i)))
	}
	for _, x := range []struct {
		name   string
		events []rack.Event
		want   []string
	}{
		{"two weaknesses", []rack.Event{zero, known}, []string{"cipher suite 0", "a login that everybody knows"}},
		{"a weakness at login and a finding at ready", []rack.Event{zero, quiet}, []string{"cipher suite 0", "nothing was heard through tor-2:1"}},
		{"the same twice", []rack.Event{zero, quiet, zero, quiet}, []string{"cipher suite 0", "nothing was heard through tor-2:1"}},
		{"imaged again: its BMC is as weak", []rack.Event{zero, quiet, {Kind: rack.ReimageOrdered, Device: "server-01"}}, []string{"cipher suite 0"}},
		{"another device imaged again", []rack.Event{zero, quiet, {Kind: rack.ReimageOrdered, Device: "server-02"}}, []string{"cipher suite 0", "nothing was heard through tor-2:1"}},
		{"replaced", []rack.Event{zero, quiet, {Kind: rack.DeviceReplaced, Device: "server-01"}}, nil},
		{"another device's", []rack.Event{said(rack.WeaknessFound, "server-02", "cipher suite 0")}, nil},
	} {
		found := findings{}
		for _, e := range x.events {
			found.apply(e)
		}
		if got := found.of("server-01"); !slices.Equal(got, x.want) {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
	found := findings{}
	for _, e := range many {
		found.apply(e)
	}
	if got := found.of("server-01"); len(got) != maxFindings || got[0] != quiet.Detail.Reason {
		t.Errorf("%d findings of one device, of %d at most: %q", len(got), maxFindings, got)
	}
}
