package platform

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// Names of the simulated platforms.
const (
	SimManagement = "sim-mgmt"
	SimToR        = "sim-tor"
	SimSpine      = "sim-spine"
	SimServer     = "sim-server"
)

//go:embed files
var embedded embed.FS

// maxFiles bounds how many files a user's folder may hold.
const maxFiles = 256

// Set is platforms by name. It does not change.
type Set struct{ byName map[string]*Definition }

// builtIn reads the embedded platforms, once.
var builtIn = sync.OnceValues(func() (*Set, error) {
	names, err := fs.Glob(embedded, "files/*.yaml")
	if err != nil {
		return nil, err
	}
	var files []file
	for _, name := range names {
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, file{path: name, data: data, open: func(name string) ([]byte, error) { return embedded.ReadFile("files/" + name) }})
	}
	return build(files, nil)
})

// Default is the platforms that rackreach comes with. It panics when they cannot be
// read, which a test excludes.
func Default() *Set {
	s, err := builtIn()
	if err != nil {
		panic("the embedded platforms: " + err.Error())
	}
	return s
}

// All returns every platform that rackreach comes with, by name. The map is the caller's.
func All() map[string]rack.Platform { return Default().Platforms() }

// Load reads the files *.yaml of a user's folder and puts their platforms on top of
// the embedded ones. Its error is of type strictyaml.Problems.
func Load(dir string) (*Set, error) {
	fail := func(what, fix string) (*Set, error) {
		return nil, strictyaml.Problems{{File: dir, What: what, Fix: fix}}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fail(strictyaml.Unreadable(err), "the path of a folder with a file NAME.yaml for each platform")
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".yaml") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if len(names) > maxFiles {
		return fail(fmt.Sprintf("the folder has %d files *.yaml", len(names)), fmt.Sprintf("at most %d platforms", maxFiles))
	}
	return load(names)
}

// LoadFile reads one file of a user's on top of the embedded platforms, and says which
// platform it holds. Its error is of type strictyaml.Problems.
func LoadFile(path string) (*Set, string, error) {
	s, err := load([]string{path})
	if err != nil {
		return nil, "", err
	}
	for name, d := range s.byName {
		if d.Own {
			return s, name, nil
		}
	}
	return nil, "", errors.New("a file without a platform was taken for one")
}

func load(names []string) (*Set, error) {
	var files []file
	var problems strictyaml.Problems
	for _, path := range names {
		data, err := strictyaml.Read(path, maxSize)
		if err != nil {
			problems = append(problems, strictyaml.Problem{File: path, What: strictyaml.Unreadable(err), Fix: "the path of a platform file"})
			continue
		}
		files = append(files, file{path: path, data: data, open: func(name string) ([]byte, error) {
			return strictyaml.Read(filepath.Join(filepath.Dir(path), name), maxTemplate)
		}})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return build(files, Default())
}

// Platforms returns every platform by name. The map is the caller's.
func (s *Set) Platforms() map[string]rack.Platform {
	out := make(map[string]rack.Platform, len(s.byName))
	for n, d := range s.byName {
		out[n] = d.Platform
	}
	return out
}

// Definition is a platform by name.
func (s *Set) Definition(name string) (*Definition, bool) {
	d, ok := s.byName[name]
	return d, ok
}

// Definitions are all platforms, by name.
func (s *Set) Definitions() []*Definition {
	out := slices.Collect(maps.Values(s.byName))
	slices.SortFunc(out, func(a, b *Definition) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Names lists the platforms of a table, sorted, for messages.
func Names(t map[string]rack.Platform) string {
	names := slices.Sorted(maps.Keys(t))
	return fmt.Sprintf("%d platforms: %s", len(names), strings.Join(names, ", "))
}

// build puts the platforms of files on top of those of below, which may be nil.
func build(files []file, below *Set) (*Set, error) {
	s := &Set{byName: map[string]*Definition{}}
	if below != nil {
		maps.Copy(s.byName, below.byName)
	}
	var problems strictyaml.Problems
	read := map[string]*reader{}
	for _, f := range files {
		r := newReader(f)
		if r.parse(); r.d.Name != "" {
			if other := read[r.d.Name]; other != nil {
				r.Say(r.line("name"), "another name", "%s holds a platform of this name, too", strictyaml.Printable(other.File))
			} else {
				read[r.d.Name] = r
			}
		}
		r.d.Own = below != nil
		problems = append(problems, r.Problems...)
	}
	if len(problems) > 0 {
		return nil, problems.Sorted()
	}
	for _, name := range slices.Sorted(maps.Keys(read)) {
		r := read[name]
		r.inherit(read, s.byName, nil)
		r.sound()
		problems = append(problems, r.Problems...)
	}
	if len(problems) > 0 {
		return nil, problems.Sorted()
	}
	for name, r := range read {
		s.byName[name] = &r.d
	}
	return s, nil
}
