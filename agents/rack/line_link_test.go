package rackagent

import (
	"net/netip"
	"strings"
	"testing"
)

func TestLinkChanges(t *testing.T) {
	s := linkState{up: true, ours: true}
	for i, c := range []struct {
		now  linkState
		want string
	}{
		{linkState{true, true}, ""},
		{linkState{false, true}, "interface rr0 has lost its link: nobody can be heard until it is back"},
		{linkState{false, true}, ""},
		{linkState{true, false}, "interface rr0 has a link again; interface rr0 has lost the address 10.0.0.1, by which clients are told to come back to us: nobody reaches it: ip addr add 10.0.0.1/LENGTH dev rr0, or start again with another one"},
		{linkState{true, false}, ""},
		{linkState{true, true}, "interface rr0 has the address 10.0.0.1 again"},
	} {
		if got := strings.Join(s.changed("rr0", netip.MustParseAddr("10.0.0.1"), c.now), "; "); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}
