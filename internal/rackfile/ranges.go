package rackfile

import (
	"fmt"
	"strconv"
	"strings"
)

// template is a text with index ranges: "server-{01..24}". All ranges of a text
// run in step, so they are of one length.
type template struct {
	parts []part
	count int // length of its ranges; 0: it has none
}

// part is a piece of fixed text, or a range.
type part struct {
	text  string
	first int
	width int // digits, padded with zeros; 0: not padded
	count int // 0: fixed text
}

// maxIndex bounds the numbers of a range.
const maxIndex = 99_999

// parseTemplate reads the ranges of a text. Its error says what is wrong, and
// what to write after "; write: ".
func parseTemplate(s string) (template, error) {
	var t template
	for rest := s; rest != ""; {
		before, inside, open := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return template{}, rangeError{"a } without its {", "{1..24} for a range"}
		}
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !open {
			break
		}
		bounds, after, closed := strings.Cut(inside, "}")
		if !closed {
			return template{}, rangeError{"a { without its }", "{1..24} for a range"}
		}
		p, err := parseRange(bounds)
		if err != nil {
			return template{}, err
		}
		if t.count != 0 && t.count != p.count {
			return template{}, rangeError{fmt.Sprintf("its ranges count %d and %d", t.count, p.count), "ranges of one length: they run in step"}
		}
		t.parts, t.count, rest = append(t.parts, p), p.count, after
	}
	return t, nil
}

// parseRange reads "01..24".
func parseRange(s string) (part, error) {
	low, high, ok := strings.Cut(s, "..")
	first, ok1 := index(low)
	last, ok2 := index(high)
	switch {
	case !ok || !ok1 || !ok2:
		return part{}, rangeError{fmt.Sprintf("{%s} is not a range of numbers up to %d", cut(s), maxIndex), "{1..24}, or {01..24} to pad with zeros"}
	case first > last:
		return part{}, rangeError{fmt.Sprintf("range {%s} runs backwards", cut(s)), fmt.Sprintf("{%s..%s}", high, low)}
	case last-first >= MaxDevices:
		return part{}, rangeError{fmt.Sprintf("range {%s} counts more than %d", cut(s), MaxDevices), "a shorter range"}
	}
	p := part{first: first, count: last - first + 1}
	if padded(low) || padded(high) {
		if len(low) != len(high) {
			return part{}, rangeError{fmt.Sprintf("the ends of range {%s} are padded differently", cut(s)), "as many digits at both ends, such as {01..24}"}
		}
		p.width = len(low)
	}
	return p, nil
}

// index reads decimal digits only.
func index(s string) (int, bool) {
	if s == "" || len(s) > 5 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= maxIndex
}

func padded(s string) bool { return len(s) > 1 && s[0] == '0' }

func cut(s string) string {
	q := shown(s)
	if strings.HasSuffix(q, "…") {
		return strings.Trim(q, `"…`) + "…"
	}
	return strings.Trim(q, `"`)
}

// at is the text of the i-th device, from 0. A text without ranges is the same
// for all.
func (t template) at(i int) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.count == 0 {
			b.WriteString(p.text)
			continue
		}
		fmt.Fprintf(&b, "%0*d", p.width, p.first+i)
	}
	return b.String()
}

// rangeError says what is wrong with a range.
type rangeError struct{ what, fix string }

func (e rangeError) Error() string { return e.what }
