package classify

import "strings"

// MaxString is the length, in characters, of the longest string that is taken
// over from a packet.
const MaxString = 64

// cutMark ends a string that was longer.
const cutMark = "..."

// Printable makes a stranger's bytes fit to show: printable ASCII stands as it
// is, a backslash is doubled, everything else becomes \xNN. NULs at the end,
// which some firmware sends, are no part of the text. What does not fit limit
// characters is cut off and marked.
func Printable(raw []byte, limit int) string {
	const hex = "0123456789abcdef"
	for len(raw) > 0 && raw[len(raw)-1] == 0 {
		raw = raw[:len(raw)-1]
	}
	var out strings.Builder
	fits := 0 // length of the text so far that leaves room for the mark
	for _, c := range raw {
		if out.Len() <= limit-len(cutMark) {
			fits = out.Len()
		}
		switch {
		case c == '\\':
			out.WriteString(`\\`)
		case c >= ' ' && c <= '~':
			out.WriteByte(c)
		default:
			out.WriteString(`\x`)
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		}
		if out.Len() > limit {
			return out.String()[:fits] + cutMark
		}
	}
	return out.String()
}
