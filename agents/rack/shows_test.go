package rackagent

import "testing"

func TestShows(t *testing.T) {
	for _, x := range []struct {
		in, text string
		want     bool
	}{
		{"tor-1\n", "tor-1", true}, {"tor-10\n", "tor-1", false}, {"tor-10 tor-1", "tor-1", true}, {"version 4.28.1F", "4.2", false},
		{"version 4.2.1F", "4.2", true}, {"version 15.1", "5.1", false}, {"5.1", "5.1", true}, {"ID=debian", "ID=debian", true}, {"", "x", false}, {"11", "1", false},
	} {
		if got := shows(x.in, x.text); got != x.want {
			t.Errorf("%q in %q: %t", x.text, x.in, got)
		}
	}
}
