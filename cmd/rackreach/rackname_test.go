package main

import "testing"

func TestNamed(t *testing.T) {
	for _, c := range []struct{ rack, advice, want string }{
		{"", "mend tor-1, then: rackreach retry tor-1, rackreach resume", "mend tor-1, then: rackreach retry tor-1, rackreach resume"},
		{"r2", "mend tor-1, then: rackreach retry tor-1, rackreach resume", "mend tor-1, then: rackreach retry r2/tor-1, rackreach resume r2"},
		{"r2", "rackreach why server-01", "rackreach why r2/server-01"},
		{"r2", "rackreach resume r2 --only server-03", "rackreach resume r2 --only server-03"},
		{"r2", "rackreach resume --all: it images the others", "rackreach resume r2 --all: it images the others"},
		{"r2", "wait for its end (rackreach watch), or rackreach halt", "wait for its end (rackreach watch r2), or rackreach halt r2"},
		{"r2", "rackreach retry r2/tor-1; rackreach retry DEVICE", "rackreach retry r2/tor-1; rackreach retry r2/DEVICE"},
		{"r2", "rackreach identify FILE DEVICE, with the rack file", "rackreach identify FILE DEVICE, with the rack file"},
		{"r2", "rackreach resume r20", "rackreach resume r2 r20"},
		{"a.b", "rackreach status; rackreach cabling FILE", "rackreach status; rackreach cabling FILE"},
	} {
		if got := named(c.rack, c.advice); got != c.want {
			t.Errorf("named(%q, %q) = %q, want %q", c.rack, c.advice, got, c.want)
		}
	}
}
