package bundle

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// File is a bundle file: what a release is made of.
type File struct {
	Name   string
	Inputs []Input // paths relative to the file are made whole
}

const (
	apiVersion  = "rackreach/v1"
	fileKind    = "Bundle"
	maxFileSize = 1 << 20 // bytes
	beginning   = "apiVersion: rackreach/v1, kind: Bundle, name: and artifacts:"
)

var fileForm = strictyaml.Kind{MaxSize: maxFileSize, Smaller: "a directory instead of many files", Begin: beginning, One: "one release in a file"}

// ReadFile reads a bundle file. Its error is of type strictyaml.Problems.
func ReadFile(path string) (*File, error) {
	b, err := strictyaml.Read(path, maxFileSize)
	if err != nil {
		return nil, strictyaml.Problems{{File: path, What: strictyaml.Unreadable(err), Fix: "the path of a bundle file: " + beginning}}
	}
	return ParseFile(path, b)
}

// ParseFile reads a bundle file that is in memory, as ReadFile.
func ParseFile(name string, b []byte) (*File, error) {
	root, err := fileForm.Document(name, b)
	if err != nil {
		return nil, err
	}
	r := &fileReader{strictyaml.Reader{File: name}, filepath.Dir(name)}
	f := &File{}
	m := r.Mapping(root, "the bundle file", "apiVersion", "kind", "name", "artifacts")
	if m == nil {
		return nil, r.Problems
	}
	r.is(root, m, "apiVersion", apiVersion)
	r.is(root, m, "kind", fileKind)
	if f.Name = r.text(root, m, "name", "name: and the release's name, such as 2026.3"); f.Name != "" {
		if err := CheckRelease(f.Name); err != nil {
			r.Say(m["name"].Line, "letters, digits, and . _ - inside", "%s is no name of a release", strictyaml.Shown(f.Name))
		}
	}
	const list = `artifacts: and a list, [{name: debian-13, kind: disk-image, file: debian-13.raw}]`
	if n, ok := m["artifacts"]; !ok {
		r.Say(root.Line, list, "artifacts is missing")
	} else {
		for _, x := range r.List(n, "artifacts", list, maxArtifacts) {
			f.Inputs = append(f.Inputs, r.input(x, f.Inputs))
		}
	}
	if len(r.Problems) > 0 {
		return nil, r.Problems.Sorted()
	}
	return f, nil
}

type fileReader struct {
	strictyaml.Reader
	dir string // of the file
}

// text reads a value that must be there.
func (r *fileReader) text(around *yaml.Node, m map[string]*yaml.Node, key, fix string) string {
	n, ok := m[key]
	if !ok {
		r.Say(around.Line, fix, "%s is missing", key)
		return ""
	}
	s, _ := r.Scalar(n, key, fix)
	return s
}

// is holds that a key has the only value that it may have.
func (r *fileReader) is(around *yaml.Node, m map[string]*yaml.Node, key, want string) {
	if s := r.text(around, m, key, key+": "+want); s != "" && s != want {
		r.Say(m[key].Line, want, "%s is %s, which this version does not read", key, strictyaml.Shown(s))
	}
}

func (r *fileReader) input(n *yaml.Node, before []Input) (in Input) {
	m := r.Mapping(n, "an artifact", "name", "kind", "file", "platforms", "frameSize")
	if m == nil {
		return in
	}
	in.Name = r.valid(n, m, "name", artifactName, "letters, digits, and . _ + - inside, with / between folders")
	if in.Name != "" && slices.ContainsFunc(before, func(o Input) bool { return o.Name == in.Name }) {
		r.Say(m["name"].Line, "another name", "two artifacts are called %s", strictyaml.Shown(in.Name))
	}
	if k := r.text(n, m, "kind", "one of "+kindList()); k != "" {
		if in.Kind = Kind(k); !slices.Contains(Kinds(), in.Kind) {
			r.Say(m["kind"].Line, "one of "+kindList(), "%s is no kind of artifact", strictyaml.Shown(k))
		}
	}
	if p := r.text(n, m, "file", "file: and its path, or that of a directory"); p != "" {
		if in.Path = p; !filepath.IsAbs(p) {
			in.Path = filepath.Join(r.dir, p)
		}
	}
	if l, ok := m["platforms"]; ok {
		const fix = "platforms: [debian-server]"
		for _, x := range r.List(l, "platforms", fix, maxPlatforms) {
			if p, ok := r.Scalar(x, "a platform", fix); ok {
				if len(p) > maxName || !platformName.MatchString(p) {
					r.Say(x.Line, "lower case letters, digits and -", "%s is no name of a platform", strictyaml.Shown(p))
				}
				in.Platforms = append(in.Platforms, p)
			}
		}
	}
	if x, ok := m["frameSize"]; ok {
		const fix = "the raw bytes of a frame, 4MiB to 16MiB"
		if s, ok := r.Scalar(x, "frameSize", fix); ok {
			if in.FrameSize, ok = ParseFrameSize(s); !ok {
				r.Say(x.Line, fix, "frameSize is %s", strictyaml.Shown(s))
			}
		}
	}
	return in
}

func (r *fileReader) valid(around *yaml.Node, m map[string]*yaml.Node, key string, is *regexp.Regexp, fix string) string {
	s := r.text(around, m, key, key+": "+fix)
	if s != "" && (len(s) > maxName || !is.MatchString(s)) {
		r.Say(m[key].Line, fix, "%s is no %s of an artifact", strictyaml.Shown(s), key)
		return ""
	}
	return s
}

// ParseFrameSize reads "8MiB"; ok is false for what is no size of a frame.
func ParseFrameSize(s string) (int64, bool) {
	digits, ok := strings.CutSuffix(s, "MiB")
	n, err := strconv.ParseInt(digits, 10, 32)
	n <<= 20
	return n, ok && err == nil && n >= frames.MinSize && n <= frames.MaxSize
}
