package answerfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"
	"unicode/utf8"

	"github.com/rackreach/rackreach/internal/rack"
)

// maxValue bounds a value, in bytes: a public key of 16,384 bits has 2.8 kB.
const maxValue = 4 << 10

// rendered is what include returns: text that was escaped already.
type rendered string

// errValue says that a value cannot stand where a template puts it.
var errValue = errors.New("it cannot stand there")

// text is the text of a value, of the few types that values have.
func text(v any) (string, error) {
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case Secret:
		s = v.text
	case int:
		s = strconv.Itoa(v)
	case int64:
		s = strconv.FormatInt(v, 10)
	case netip.Addr:
		if v.IsValid() {
			s = v.String()
		}
	case rack.Installer:
		s = string(v)
	default:
		return "", fmt.Errorf("a value of type %T: %w: print one of its parts", v, errValue)
	}
	switch {
	case len(s) > maxValue:
		return "", fmt.Errorf("a value of %d bytes: %w: at most %d are possible", len(s), errValue, maxValue)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("a value with bytes that are not printable: %w", errValue)
	}
	return s, nil
}

// word is a value that every reader takes for one word and nothing else: there is
// nothing to quote in it.
func word(v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.Contains("-._:/@+,=$", s[i:i+1]) {
			return "", fmt.Errorf("a value with the character %q: %w: it must be one word of letters, digits and -._:/@+,=$", c, errValue)
		}
	}
	if s == "" {
		return "", fmt.Errorf("an empty value: %w: a word is needed", errValue)
	}
	return s, nil
}

// line is a value in a file whose values end with their line: it may have blanks
// inside. A backslash could join the next line to it.
func line(v any) (string, error) {
	s, err := text(v)
	switch {
	case err != nil:
		return "", err
	case strings.Contains(s, `\`), s != strings.TrimSpace(s):
		return "", fmt.Errorf("a value with a backslash, or with a blank at an end: %w", errValue)
	}
	return s, nil
}

// sh is a value as one word of a POSIX shell, and of what splits lines as it does.
func sh(v any) (string, error) {
	s, err := text(v)
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", err
}

// py is a value as a string of Python.
func py(v any) (string, error) {
	s, err := text(v)
	return strconv.QuoteToASCII(s), err
}

// yamlText is a value as a string of YAML: JSON is YAML (YAML 1.2 §1.3).
func yamlText(v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(s)
	return string(b), err
}

// maxIndent bounds how many blanks stand before a line.
const maxIndent = 64

// indent is an included file as the lines of a YAML block scalar, so many blanks deep:
// what stands deeper than its key ends with the first line that does not (YAML 1.2 §8.1).
func indent(by int, v any) (string, error) {
	if by < 0 || by > maxIndent {
		return "", fmt.Errorf("indent %d: it takes 0 to %d blanks", by, maxIndent)
	}
	s, ok := v.(rendered)
	if !ok {
		return "", fmt.Errorf("an indented text of type %T: %w: only what include returns", v, errValue)
	}
	var b strings.Builder
	for l := range strings.Lines(string(s)) {
		if l != "\n" {
			b.WriteString(strings.Repeat(" ", by))
		}
		b.WriteString(l)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// plain is an included file as it is.
func plain(v any) (string, error) {
	s, ok := v.(rendered)
	if !ok {
		return "", fmt.Errorf("text of type %T: %w: only what include returns", v, errValue)
	}
	return string(s), nil
}

// escapers are the functions that may end an action.
var escapers = template.FuncMap{"word": word, "line": line, "sh": sh, "py": py, "yaml": yamlText, "indent": indent, "plain": plain}

// escaperOf is the escaper that a template gets where its author named none: that
// of a file's format, whoever includes it.
func escaperOf(name string, installer rack.Installer) string {
	switch {
	case path.Ext(name) == ".sh":
		return "sh"
	case path.Ext(name) == ".py":
		return "py"
	}
	switch installer {
	case rack.Preseed:
		return "line"
	case rack.Kickstart:
		return "sh" // pykickstart splits lines as a shell does (shlex)
	case rack.Autoinstall, rack.DiskImage:
		return "yaml"
	default: // how ESXi splits a line is written nowhere: nothing that needs quotes
		return "word"
	}
}

// escape ends every action of a template that prints with an escaper.
func escape(t *template.Template, installer rack.Installer) {
	for _, x := range t.Templates() {
		if x.Tree != nil {
			e := escaper{name: escaperOf(x.Name(), installer)}
			e.walk(x.Root)
		}
	}
}

type escaper struct{ name string }

func (e escaper) walk(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				e.walk(c)
			}
		}
	case *parse.IfNode:
		e.walk(n.List)
		e.walk(n.ElseList)
	case *parse.RangeNode:
		e.walk(n.List)
		e.walk(n.ElseList)
	case *parse.WithNode:
		e.walk(n.List)
		e.walk(n.ElseList)
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			e.end(n.Pipe)
		}
	}
}

// end appends the escaper to a pipeline that does not end in one.
func (e escaper) end(p *parse.PipeNode) {
	last := p.Cmds[len(p.Cmds)-1]
	if f, ok := last.Args[0].(*parse.IdentifierNode); ok {
		if _, is := escapers[f.Ident]; is {
			return
		}
	}
	f := parse.NewIdentifier(e.name).SetPos(p.Pos)
	p.Cmds = append(p.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: p.Pos, Args: []parse.Node{f}})
}

// names are the names of the escapers, sorted, for messages.
func escaperNames() (out []string) {
	for n := range escapers {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
