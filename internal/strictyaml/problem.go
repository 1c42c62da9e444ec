package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	maxShown = 64 // bytes of a stranger's text in a message

	// MaxPrinted is the most problems in the text of one error.
	MaxPrinted = 2000
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int    // from 1; 0: the file as a whole
	What string // what is wrong; never a secret
	Fix  string // what to write instead
}

// String is "file:line: what; write: fix".
func (p Problem) String() string {
	at := Printable(p.File)
	if p.Line > 0 {
		at += ":" + strconv.Itoa(p.Line)
	}
	return fmt.Sprintf("%s: %s; write: %s", at, p.What, p.Fix)
}

// Problems is everything that is wrong, by file and line.
type Problems []Problem

var _ error = Problems{}

// Error is one problem a line; of a file that is something else altogether, the
// first MaxPrinted.
func (p Problems) Error() string {
	lines := make([]string, 0, min(len(p), MaxPrinted+1))
	for i := range p {
		if i == MaxPrinted {
			lines = append(lines, fmt.Sprintf("%s: %d problems more; write: what is said above first", Printable(p[i].File), len(p)-i))
			break
		}
		lines = append(lines, p[i].String())
	}
	return strings.Join(lines, "\n")
}

// Sorted is in the order in which the files are read, without repetitions: one
// line of a file may stand for many things.
func (p Problems) Sorted() Problems {
	order := map[string]int{}
	for i := range p {
		if _, ok := order[p[i].File]; !ok {
			order[p[i].File] = len(order)
		}
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(p)
}

// Shown is a stranger's text in a message: escaped and cut.
func Shown(s string) string {
	if len(s) > maxShown {
		return strconv.QuoteToASCII(s[:maxShown]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// Printable is a path as it is, or escaped when a terminal would obey it.
func Printable(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(path)
	}
	return path
}
