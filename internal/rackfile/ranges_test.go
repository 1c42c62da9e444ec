package rackfile

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTemplates holds what a text with ranges writes out.
func TestTemplates(t *testing.T) {
	for in, want := range map[string]string{
		"tor-1":                     "0 tor-1",
		"tor-{1..3}":                "3 tor-1 tor-2 tor-3",
		"server-{08..11}":           "4 server-08 server-09 server-10 server-11",
		"{0..1}":                    "2 0 1",
		"{00..01}":                  "2 00 01",
		"{7..7}":                    "1 7",
		"tor-{1..2}:{49..50}":       "2 tor-1:49 tor-2:50",
		"rack:r1/tor-{1..2}:{1..2}": "2 rack:r1/tor-1:1 rack:r1/tor-2:2",
	} {
		tmpl, err := parseTemplate(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got := fmt.Sprint(tmpl.count)
		for i := range max(1, tmpl.count) {
			got += " " + tmpl.at(i)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"{", "}", "{}", "{1}", "{1..}", "{..1}", "{1...2}", "{-1..2}", "{+1..2}", "{1..2}}", "{{1..2}}", "{1..100000}", "{1..1001}", "{ 1..2}", "{9..10}{09..10}{1..3}", "{09..100}"} {
		if _, err := parseTemplate(in); err == nil {
			t.Errorf("%s is accepted", in)
		}
	}
}

// TestTemplateProperty: a range writes out every number from its first to its
// last, in order, each in its width, with the text around it.
func TestTemplateProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, 9000).Draw(t, "first")
		count := rapid.IntRange(1, MaxDevices).Draw(t, "count")
		width := rapid.IntRange(0, 5).Draw(t, "width")
		last := first + count - 1
		low, high := fmt.Sprintf("%0*d", width, first), fmt.Sprintf("%0*d", width, last)
		before := rapid.StringMatching(`[a-z0-9:./-]{0,9}`).Draw(t, "before")
		after := rapid.StringMatching(`[a-z0-9:./-]{0,9}`).Draw(t, "after")
		tmpl, err := parseTemplate(before + "{" + low + ".." + high + "}" + after)
		if len(low) != len(high) && (padded(low) || padded(high)) {
			if err == nil {
				t.Fatalf("{%s..%s} is accepted", low, high)
			}
			return
		}
		if err != nil || tmpl.count != count {
			t.Fatalf("{%s..%s}: counts %d, %v", low, high, tmpl.count, err)
		}
		fixed := 0
		if padded(low) {
			fixed = len(low)
		}
		for i := range count {
			if got, want := tmpl.at(i), fmt.Sprintf("%s%0*d%s", before, fixed, first+i, after); got != want {
				t.Fatalf("number %d is %q, want %q", i, got, want)
			}
		}
	})
}

// TestTemplateOfAnything: whatever the text, it is refused with a reason or
// counts no more than is allowed, and a text without braces is itself.
func TestTemplateOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-c0-9{}.:-]{0,24}`).Draw(t, "text")
		tmpl, err := parseTemplate(s)
		switch {
		case err != nil && err.Error() == "":
			t.Fatal("no reason")
		case err == nil && (tmpl.count > MaxDevices || tmpl.count < 0):
			t.Fatalf("counts %d", tmpl.count)
		case !strings.ContainsAny(s, "{}") && (err != nil || tmpl.at(0) != s):
			t.Fatalf("%q became %q, %v", s, tmpl.at(0), err)
		}
	})
}
