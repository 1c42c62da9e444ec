package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

func TestWordsToComplete(t *testing.T) {
	k := known{racks: []string{"r1", "r10"}, devices: map[string][]string{"r1": {"mgmt-1", "tor-1"}, "r10": {"mgmt-1"}}}
	for _, x := range []struct {
		racks, devices bool
		typed          string
		want           []string
		space          bool
	}{
		{false, true, "", []string{"r1/", "r10/"}, false},
		{false, true, "r1/", []string{"r1/mgmt-1", "r1/tor-1"}, true},
		{false, true, "r1/t", []string{"r1/tor-1"}, true},
		{true, true, "r1", []string{"r1", "r1/", "r10", "r10/"}, false},
		{true, false, "r10", []string{"r10"}, true},
		{false, true, "tor", nil, true},
	} {
		got, how := k.words(x.racks, x.devices, x.typed)
		if !slices.Equal(got, x.want) || (how&cobra.ShellCompDirectiveNoSpace == 0) != x.space {
			t.Errorf("%q: %q, %d", x.typed, got, how)
		}
	}
}
