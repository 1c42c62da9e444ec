package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// Kind says what a file of one kind may be, and what is told about one that is
// not.
type Kind struct {
	MaxSize int    // bytes
	Smaller string // what to write instead of a larger file
	Begin   string // how such a file begins
	One     string // what to write instead of a second document
}

// Document parses the bytes into the only YAML document of the file. Its error is
// of type Problems.
func (k Kind) Document(name string, data []byte) (*yaml.Node, error) {
	fail := func(line int, what, fix string) (*yaml.Node, error) {
		return nil, Problems{{File: name, Line: line, What: what, Fix: fix}}
	}
	if len(data) > k.MaxSize {
		return fail(0, fmt.Sprintf("the file is larger than %d bytes", k.MaxSize), k.Smaller)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return fail(1, "the file is empty", k.Begin)
	case err != nil:
		line, what := syntax(data, err)
		return fail(line, what, "YAML; look for a missing quote, bracket or space before this line")
	}
	switch err := dec.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		line, what := syntax(data, err)
		return fail(line, what, "YAML; look for a missing quote, bracket or space before this line")
	default:
		return fail(next.Line, "a second document in one file", k.One)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return fail(1, "the file is empty", k.Begin)
	}
	return doc.Content[0], nil
}

// parserErrors are those messages of the YAML library that count lines from 0;
// its others count from 1.
var parserErrors = [...]string{"did not find expected <", "did not find expected node", "did not find expected '-' ",
	"did not find expected key", "did not find expected ','", "found duplicate", "found incompatible", "found undefined"}

// syntax is the line and text of a YAML syntax error. The library repeats text
// of the file in two of its messages; these are not passed on, because the text
// may be a secret.
func syntax(data []byte, err error) (line int, what string) {
	what = strings.TrimPrefix(err.Error(), "yaml: ")
	if n, scanErr := fmt.Sscanf(what, "line %d: ", &line); scanErr == nil && n == 1 {
		_, what, _ = strings.Cut(what, ": ")
	}
	for _, p := range parserErrors {
		if strings.HasPrefix(what, p) {
			line++
			break
		}
	}
	if _, after, ok := strings.Cut(what, "unknown anchor '"); ok {
		alias := "*" + strings.TrimSuffix(after, "' referenced")
		if before, _, found := bytes.Cut(data, []byte(alias)); found {
			line = 1 + bytes.Count(before, []byte("\n"))
		}
		what = "an alias (*) of something that is not there; text that begins with * stands in quotes"
	} else if strings.ContainsRune(what, '`') || strings.Contains(what, "anchor '") {
		what = "a tag or an anchor that does not fit its value"
	}
	if strings.Contains(what, "tab character") {
		// The library names the line in which it last knew where it was.
		if n := tabLine(data, line); n > 0 {
			return n, "not YAML: the line begins with a tab; indent with spaces"
		}
	}
	return max(line, 1), "not YAML: " + what
}

// tabLine is the first line, from the given one on, whose indentation holds a
// tab; 0 when there is none.
func tabLine(data []byte, from int) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if n >= from && bytes.ContainsRune(indent, '\t') {
			return n
		}
	}
	return 0
}

// Read reads a regular file, and at most one byte more than max of it.
func Read(path string, max int) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, int64(max)+1))
	return data, errors.Join(err, file.Close())
}

// Unreadable says why a file cannot be read, without its path, which stands
// before the message.
func Unreadable(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return "cannot be read: " + err.Error()
}
