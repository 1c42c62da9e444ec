// Package rackfile reads rack files: YAML for the rack, and CSV for the
// inventory that it may name.
//
// The reader is strict and names every problem at once, each with file and
// line, what is wrong and what to write instead. Unknown and repeated keys are
// errors; so are secrets, which are never repeated in a message. Index ranges
// such as "server-{01..24}" are expanded in step over the fields of a device or
// a link. What a rack may say at all is decided by rack.Validate; this package
// finds the line for each of its answers.
//
// A file is a stranger's: its size, its devices, links, ranges and the text that
// is repeated in messages are bounded, and anchors and aliases are refused.
package rackfile

import (
	"path/filepath"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
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
	return parse(name, data, open, platforms, defaults{})
}

func parse(name string, data []byte, open func(path string) ([]byte, error), platforms map[string]rack.Platform, d defaults) (*rack.Rack, error) {
	r := &reader{file: name}
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	d.fill(root)
	f := r.rack(root)
	if f.inventory != "" {
		f.addInventory(r, open)
	}
	// A device that could not be read makes everything that names it wrong:
	// what Validate would say then are guesses.
	if !f.lost {
		f.validate(r, platforms)
	}
	if len(r.problems) > 0 {
		return nil, r.problems.Sorted()
	}
	return f.rack, nil
}

// document parses the bytes into the only YAML document of the file.
func document(name string, data []byte) (*yaml.Node, error) {
	return strictyaml.Kind{
		MaxSize: MaxFileSize,
		Smaller: "one rack only, with index ranges",
		Begin:   "apiVersion: " + apiVersion + " and what follows, as in examples/rack-1.yaml",
		One:     "one rack a file",
	}.Document(name, data)
}

func readBounded(path string) ([]byte, error) { return strictyaml.Read(path, MaxFileSize) }

func unreadable(err error) string { return strictyaml.Unreadable(err) }

// beside is the path of a file that is named relative to the rack file.
func beside(rackFile, name string) string {
	return filepath.Join(filepath.Dir(rackFile), filepath.FromSlash(name))
}
