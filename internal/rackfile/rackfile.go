// Package rackfile reads rack files: YAML for the rack, and CSV for the
// inventory that it may name; and fleet files, which name rack files, the defaults
// that these share, and how many racks are imaged at once.
//
// The reader is strict and names every problem at once, each with file and
// line, what is wrong and what to write instead. Unknown and repeated keys are
// errors; so are secrets, which are never repeated in a message. Index ranges
// such as "server-{01..24}" are expanded in step over the fields of a device or
// a link. What a rack may say at all is decided by rack.Validate, and what racks of
// one fleet must not contradict each other in by fleet.Validate; this package finds
// the line for each of their answers.
//
// A file is a stranger's: its size, its devices, links, ranges and the text that
// is repeated in messages are bounded, and anchors and aliases are refused.
package rackfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of one rack file.
const (
	MaxFileSize = 1 << 20 // bytes, of the rack file and of its inventory each
	MaxDevices  = 1000    // after expansion; also the longest range
	MaxLinks    = 4000    // after expansion
	MaxData     = 64      // data cables of one device
	MaxMACs     = 64      // MACs of one device
)

// The header that every rack file has.
const (
	apiVersion = "rackreach/v1"
	kind       = "Rack"
)

// Read reads the rack file at path, and the inventory that it names. Its error
// is of type Problems.
func Read(path string, platforms map[string]rack.Platform) (*rack.Rack, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, Problems{{File: path, What: unreadable(err), Fix: "the path of a rack file, such as examples/rack-1.yaml"}}
	}
	return Parse(path, data, readBounded, platforms)
}

// Parse reads a rack file that is in memory. name stands for it in messages;
// open gives the bytes of the inventory, whose path is relative to name's
// folder and was joined with it. The error is of type Problems.
func Parse(name string, data []byte, open func(path string) ([]byte, error), platforms map[string]rack.Platform) (*rack.Rack, error) {
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	if line := fleetLine(root); line > 0 {
		return nil, Problems{{File: name, Line: line, What: "this is a fleet file, and one rack is asked for", Fix: "the path of one of its rack files"}}
	}
	r := &reader{file: name}
	f := r.whole(root, open, platforms)
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	return f.rack, nil
}

// whole reads a rack file and its inventory, and validates the rack.
func (r *reader) whole(root *yaml.Node, open func(path string) ([]byte, error), platforms map[string]rack.Platform) *file {
	f := r.rack(root)
	if f.inventory != "" {
		f.addInventory(r, open)
	}
	// A device that could not be read makes everything that names it wrong:
	// what Validate would say then are guesses.
	if !f.lost {
		f.validate(r, platforms)
	}
	return f
}

// document parses the bytes into the only YAML document of the file.
func document(name string, data []byte) (*yaml.Node, error) {
	fail := func(line int, what, fix string) (*yaml.Node, error) {
		return nil, Problems{{File: name, Line: line, What: what, Fix: fix}}
	}
	if len(data) > MaxFileSize {
		return fail(0, fmt.Sprintf("the file is larger than %d bytes", MaxFileSize), "one rack only, with index ranges")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return fail(1, "the file is empty", "apiVersion: "+apiVersion+" and what follows, as in examples/rack-1.yaml")
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
		return fail(next.Line, "a second document in one file", "one rack a file")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return fail(1, "the file is empty", "apiVersion: "+apiVersion+" and what follows, as in examples/rack-1.yaml")
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

func readBounded(path string) ([]byte, error) {
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
	data, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	return data, errors.Join(err, file.Close())
}

// unreadable says why a file cannot be read, without its path, which stands
// before the message.
func unreadable(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return "cannot be read: " + err.Error()
}

// beside is the path of a file that is named relative to the rack file.
func beside(rackFile, name string) string {
	return filepath.Join(filepath.Dir(rackFile), filepath.FromSlash(name))
}
