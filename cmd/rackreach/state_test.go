package main

import (
	"strings"
	"testing"
)

func TestStateHome(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"RACKREACH_STATE": "here", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "here"},
		{map[string]string{"RACKREACH_STATE": "", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/rackreach"},
		{map[string]string{"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/rackreach"},
		{map[string]string{"HOME": "/h"}, "/h/.local/state/rackreach"},
		{nil, ""},
	} {
		got, err := stateHome(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%v: %q %v, want %q", c.env, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), "set RACKREACH_STATE") {
			t.Errorf("it does not say what to do: %v", err)
		}
	}
}
