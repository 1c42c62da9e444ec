package printable

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "0123456789": "0123456789", "0123456789a": "0123456…",
		" a\tb\r\n c ": "a b c", "\x1b[2J": "[2J", "a\u202eb": "a b", "\xff": "?",
		"äöüäöüä": "äöü…", "012345 789a": "012345…",
	} {
		if got := Line(in, 10); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\tb", uint8(10))
	f.Add(strings.Repeat("é ", 40), uint8(7))
	f.Fuzz(func(t *testing.T, s string, most uint8) {
		bound := int(most) + len("…")
		got := Line(s, bound)
		bad := strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) })
		if len(got) > bound || bad || !utf8.ValidString(got) || Line(got, bound) != got {
			t.Errorf("%q became %q", s, got)
		}
	})
}
