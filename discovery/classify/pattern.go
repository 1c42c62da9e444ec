package classify

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of one pattern.
const (
	maxPattern = 255 // bytes, the longest value of an option in one piece
	maxHoles   = 8
)

// field is what a hole of a pattern fills in.
type field int

const (
	skipped field = iota
	fieldVendor
	fieldModel
	fieldSerial
	fieldArch
	fieldArchNumber // IANA's number, decimal
	fields
)

// fieldNames are the names of holes.
var fieldNames = [fields]string{skipped: "", fieldVendor: "vendor", fieldModel: "model", fieldSerial: "serial", fieldArch: "arch", fieldArchNumber: "arch-number"}

// filled is what the holes of one rule took from a packet, as it came.
type filled [fields][]byte

// pattern is a text with holes, such as "Arista;{model};{};{serial}". A hole ends
// where the text behind it begins for the first time, or, with a star, for the
// last time; the last hole takes the rest. Matching never goes back, so its time
// is linear in the value.
type pattern struct {
	written string
	prefix  []byte // before the first hole; the whole pattern when there is none
	holes   []hole
}

// hole is one hole and the text behind it.
type hole struct {
	fills field
	last  bool   // it ends where the text behind it stands for the last time
	width int    // bytes that it takes; 0: up to the text behind it
	then  []byte // nil for the last hole of a pattern that ends with it
}

// match reports whether a value fits the whole pattern, and fills in got. On
// failure got is not to be used.
func (p *pattern) match(value []byte, got *filled) bool {
	if len(p.holes) == 0 {
		return bytes.Equal(value, p.prefix)
	}
	if !bytes.HasPrefix(value, p.prefix) {
		return false
	}
	rest := value[len(p.prefix):]
	for i := range p.holes {
		h := &p.holes[i]
		n := h.width
		end := i == len(p.holes)-1
		switch {
		case h.width > 0:
		case len(h.then) == 0:
			n = len(rest)
		case end:
			n = len(rest) - len(h.then)
		case h.last:
			n = bytes.LastIndex(rest, h.then)
		default:
			n = bytes.Index(rest, h.then)
		}
		if n < 0 || n > len(rest) || !bytes.HasPrefix(rest[n:], h.then) {
			return false
		}
		if h.fills != skipped {
			got[h.fills] = rest[:n]
		}
		if rest = rest[n+len(h.then):]; end && len(rest) > 0 {
			return false
		}
	}
	return true
}

// patternError says what is wrong with a pattern, and what to write instead.
type patternError struct{ what, fix string }

func (e patternError) Error() string { return e.what }

// parsePattern reads a pattern as a file writes it. Each of its characters is one
// byte; "{{" and "}}" are braces.
func parsePattern(s string) (pattern, error) {
	p := pattern{written: s}
	if len(s) > 2*maxPattern {
		return p, patternError{"it is too long", fmt.Sprintf("at most %d characters", maxPattern)}
	}
	var text []byte
	put := func() {
		if n := len(p.holes); n > 0 {
			p.holes[n-1].then = text
		} else {
			p.prefix = text
		}
		text = nil
	}
	for rest := s; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			text, rest = append(text, rest[0]), rest[2:]
		case rest[0] == '}':
			return p, patternError{"a } without its {", "}} for the character itself"}
		case rest[0] == '{':
			name, after, ok := strings.Cut(rest[1:], "}")
			if !ok {
				return p, patternError{"a { without its }", "{model}, or {{ for the character itself"}
			}
			h, err := parseHole(name)
			if err != nil {
				return p, err
			}
			if n := len(p.holes); n > 0 && len(text) == 0 && p.holes[n-1].width == 0 {
				return p, patternError{"nothing says where the first of two holes ends", "text between two holes, or a width, such as {:4}"}
			}
			if h.fills != skipped && slices.ContainsFunc(p.holes, func(o hole) bool { return o.fills == h.fills }) {
				return p, patternError{fmt.Sprintf("{%s} stands twice in it", fieldNames[h.fills]), "it once; {} for what is passed over"}
			}
			if len(p.holes) == maxHoles {
				return p, patternError{"it has too many holes", fmt.Sprintf("at most %d", maxHoles)}
			}
			put()
			p.holes = append(p.holes, h)
			rest = after
		default:
			var err error
			if text, rest, err = oneByte(text, rest); err != nil {
				return p, err
			}
		}
	}
	put()
	return p, nil
}

// oneByte takes one character of a pattern for one byte.
func oneByte(text []byte, rest string) (longer []byte, after string, err error) {
	for i, c := range rest {
		if i > 0 {
			return text, rest[i:], nil
		}
		if c > 0xff {
			return nil, "", patternError{"it holds a character that is no single byte", `ASCII, and "\xNN" in double quotes for other bytes`}
		}
		text = append(text, byte(c))
	}
	return text, "", nil
}

// parseHole reads what stands between the braces: [NAME][*][:WIDTH].
func parseHole(s string) (h hole, err error) {
	name, width, wide := strings.Cut(s, ":")
	name, h.last = strings.CutSuffix(name, "*")
	f := slices.Index(fieldNames[:], name)
	if f < 0 {
		return h, patternError{"there is no {" + quotedName(name) + "}", "{vendor}, {model}, {serial}, {arch}, {arch-number}, or {} for what is passed over"}
	}
	h.fills = field(f)
	if !wide {
		return h, nil
	}
	h.width, err = strconv.Atoi(width)
	if err != nil || h.width < 1 || h.width > maxPattern || h.last {
		return h, patternError{"{" + quotedName(s) + "} has no width", "a number of bytes, such as {:4} or {serial:8}"}
	}
	return h, nil
}

// quotedName is a name out of a file, fit for a message.
func quotedName(s string) string {
	q := strconv.QuoteToASCII(s)
	return cutTo(q[1:len(q)-1], 40)
}

// contains reports whether every value that fits b fits p too. It may say no
// although it is so.
func (p *pattern) contains(b *pattern) bool {
	if p.written == b.written {
		return true
	}
	for i := range p.holes {
		if h := &p.holes[i]; h.width > 0 || (h.last && i < len(p.holes)-1) {
			return false
		}
	}
	// b with its holes as tokens that stand for any text: they fit p's holes only.
	const any = -1
	tokens := make([]int, 0, len(b.written))
	text := func(s []byte) {
		for _, c := range s {
			tokens = append(tokens, int(c))
		}
	}
	text(b.prefix)
	for i := range b.holes {
		tokens = append(tokens, any)
		text(b.holes[i].then)
	}
	return p.matchTokens(tokens)
}

// matchTokens is match, over tokens.
func (p *pattern) matchTokens(rest []int) bool {
	begins := func(in []int, s []byte) bool {
		if len(in) < len(s) {
			return false
		}
		for i, c := range s {
			if in[i] != int(c) {
				return false
			}
		}
		return true
	}
	if !begins(rest, p.prefix) {
		return false
	}
	rest = rest[len(p.prefix):]
	for i := range p.holes {
		then := p.holes[i].then
		if i == len(p.holes)-1 {
			return len(rest) >= len(then) && begins(rest[len(rest)-len(then):], then)
		}
		for !begins(rest, then) {
			if len(rest) == 0 {
				return false
			}
			rest = rest[1:]
		}
		rest = rest[len(then):]
	}
	return len(rest) == 0
}
