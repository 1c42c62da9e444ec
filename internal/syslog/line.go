package syslog

import (
	"bytes"
	"strings"
	"time"
	"unicode"

	"github.com/rackreach/rackreach/internal/printable"
)

// Severity is how urgent a line is, from 0 (emergency) to 7 (debug) (RFC 5424
// §6.2.1).
type Severity int

// notice is that of a line that has none (RFC 3164 §4.3.3: priority 13).
const notice Severity = 5

// String is the severity as people write it.
func (s Severity) String() string {
	names := [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	if s < 0 || int(s) >= len(names) {
		return "notice"
	}
	return names[s]
}

// Line is what a device said: printable, bounded, on one line.
type Line struct {
	Severity Severity
	Tag      string // the program; may be empty
	Text     string // never empty
}

// String is the line for people.
func (l Line) String() string {
	out := l.Text
	if l.Tag != "" {
		out = l.Tag + ": " + out
	}
	if l.Severity <= 3 {
		out = l.Severity.String() + ": " + out
	}
	return out
}

// parse reads a packet; ok is false when there is nothing in it to tell.
func parse(p []byte) (l Line, ok bool) {
	l.Severity = notice
	rest := p
	if severity, after, ok := priority(p); ok {
		l.Severity, rest = severity, after
	}
	if after, ok := bytes.CutPrefix(rest, []byte("1 ")); ok {
		l.Tag, rest = structured(after)
	} else {
		l.Tag, rest = traditional(rest)
	}
	l.Tag, l.Text = printable.Line(l.Tag, maxTag), printable.Line(string(rest), maxText)
	return l, l.Text != ""
}

// priority reads "<PRI>".
func priority(p []byte) (Severity, []byte, bool) {
	end := bytes.IndexByte(p[:min(len(p), 5)], '>')
	if end < 2 || p[0] != '<' {
		return 0, nil, false
	}
	n := 0
	for _, c := range p[1:end] {
		if c < '0' || c > '9' {
			return 0, nil, false
		}
		n = n*10 + int(c-'0')
	}
	return Severity(n % 8), p[end+1:], n <= 191
}

// structured reads what follows the version (RFC 5424 §6): time, host, program,
// process, id, structured data, text.
func structured(p []byte) (tag string, text []byte) {
	for i := range 5 {
		word, rest, _ := bytes.Cut(p, []byte(" "))
		if i == 2 && string(word) != "-" {
			tag = string(word)
		}
		p = rest
	}
	if rest, ok := bytes.CutPrefix(p, []byte("-")); ok {
		p = rest
	}
	for len(p) > 0 && p[0] == '[' {
		p = p[element(p):]
	}
	return tag, bytes.TrimPrefix(bytes.TrimLeft(p, " "), []byte("\xef\xbb\xbf"))
}

// element is the length of an element of structured data: to its "]" that stands in
// no quotes, or to the end.
func element(p []byte) int {
	quoted := false
	for i := 1; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			return i + 1
		}
	}
	return len(p)
}

// stamp is how RFC 3164 §4.1.2 writes a time.
const stamp = time.Stamp

// traditional reads what RFC 3164 §4.1.2 describes, of which each part may be
// missing: time, host, tag, text.
func traditional(p []byte) (tag string, text []byte) {
	p = bytes.TrimLeft(p, " ")
	if len(p) > len(stamp) && p[len(stamp)] == ' ' {
		if _, err := time.Parse(stamp, string(p[:len(stamp)])); err == nil {
			p = bytes.TrimLeft(p[len(stamp):], " ")
		}
	}
	if t, rest, ok := tagOf(p); ok {
		return t, rest
	}
	// A host, and then a tag: without the tag there is no telling that it is one.
	if host, rest, ok := bytes.Cut(p, []byte(" ")); ok && isWord(host) {
		if t, rest, ok := tagOf(rest); ok {
			return t, rest
		}
	}
	return "", p
}

// tagOf cuts "tag:" or "tag[process]:" off the front.
func tagOf(p []byte) (string, []byte, bool) {
	word, rest, ok := bytes.Cut(p, []byte(":"))
	if !ok {
		return "", nil, false
	}
	name, process, ok := bytes.Cut(word, []byte("["))
	if ok && !bytes.HasSuffix(process, []byte("]")) || !isWord(name) || len(rest) > 0 && rest[0] != ' ' && rest[0] != '\n' {
		return "", nil, false
	}
	return string(name), rest, true
}

// isWord reports whether p can be the name of a program or a host.
func isWord(p []byte) bool {
	return len(p) > 0 && len(p) <= 255 && !bytes.ContainsFunc(p, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./@", r)
	})
}
