package classify

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
	var buf [2 * MaxString]byte
	return string(appendPrintable(buf[:0], raw, limit))
}

// appendPrintable appends what Printable says.
func appendPrintable(out, raw []byte, limit int) []byte {
	const hex = "0123456789abcdef"
	begin := len(out)
	fits := begin // length of out that leaves room for the mark
	for _, c := range trimNUL(raw) {
		if len(out)-begin <= limit-len(cutMark) {
			fits = len(out)
		}
		switch {
		case c == '\\':
			out = append(out, '\\', '\\')
		case c >= ' ' && c <= '~':
			out = append(out, c)
		default:
			out = append(out, '\\', 'x', hex[c>>4], hex[c&15])
		}
		if len(out)-begin > limit {
			return append(out[:fits], cutMark...)
		}
	}
	return out
}

// cutTo cuts a printable text that is too long, and marks it.
func cutTo(s string, limit int) string {
	if len(s) > limit {
		return s[:limit-len(cutMark)] + cutMark
	}
	return s
}
