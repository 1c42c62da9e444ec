// Package printable makes a stranger's text fit to be shown: what devices say is on one
// line, bounded, and moves no cursor.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes one printable line of a text, of at most so many bytes (at least those of
// "…", which ends one that was cut): what would move a cursor, break a line or turn the
// writing direction becomes a space, spaces in a row become one. A line that it made it
// leaves as it is.
func Line(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	cut := most - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.TrimRight(s[:cut], " ") + "…"
}
