package strictyaml

import (
	"path/filepath"
	"strings"
	"testing"
)

var kind = Kind{MaxSize: 1000, Smaller: "less", Begin: "the beginning", One: "one"}

func TestDocument(t *testing.T) {
	for _, x := range []struct{ name, text, want string }{
		{"good", "a: 1", ""},
		{"large", strings.Repeat("#", 1001), "f: the file is larger than 1000 bytes; write: less"},
		{"empty", "", "f:1: the file is empty; write: the beginning"},
		{"a comment", "# nothing", "f:1: the file is empty; write: the beginning"},
		{"two", "a: 1\n---\nb: 1", "f:2: a second document in one file; write: one"},
		{"broken", "a: [1", "f:2: not YAML: did not find expected ',' or ']'; write: YAML; look for a missing quote, bracket or space before this line"},
		{"a tab", "a:\n  b: 1\n\tc: 1", "f:3: not YAML: the line begins with a tab; indent with spaces; write: YAML; look for a missing quote, bracket or space before this line"},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := kind.Document("f", []byte(x.text))
			if got := text(err); got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReader(t *testing.T) {
	for _, x := range []struct{ name, text, want string }{
		{"good", "a: x\nb: [1, 2]", ""},
		{"unknown key", "a: x\nb: [1]\nc: 1", `f:3: unknown key "c" in it; write: one of a, b`},
		{"twice", "a: x\na: y\nb: [1]", `f:2: key "a" is given twice in it; write: it once`},
		{"no mapping", "- a", "f:1: it is not a set of keys and values; write: keys and values: a, b"},
		{"no list", "a: x\nb: 1", "f:2: b is not a list; write: [1]"},
		{"an empty list", "a: x\nb: []", "f:2: b is not a list; write: [1]"},
		{"a long list", "a: x\nb: [1, 2, 3]", "f:2: b has 3 items; write: at most 2"},
		{"no value", "a:\nb: [1]", "f:1: a is empty; write: x"},
		{"a list for a value", "a: [x]\nb: [1]", "f:1: a is not one value; write: x"},
		{"an anchor", "a: &z x\nb: [1]", "f:1: an anchor or alias at a: these files have none; write: the value itself"},
		{"an alias", "a: x\nb: &z [*z]", "f:2: an anchor or alias at b: these files have none; write: the value itself"},
		{"a key that is a list", "a: x\nb: [1]\n? [c]\n: 1", "f:3: a key of it is not text; write: keys and values: a, b"},
	} {
		t.Run(x.name, func(t *testing.T) {
			n, err := kind.Document("f", []byte(x.text))
			if err != nil {
				t.Fatal(err)
			}
			r := &Reader{File: "f"}
			if m := r.Mapping(n, "it", "a", "b"); m != nil {
				if a, ok := r.Scalar(m["a"], "a", "x"); ok && a != "x" {
					t.Errorf("a is %q", a)
				}
				r.List(m["b"], "b", "[1]", 2)
			}
			if got := r.Problems.Error(); got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir, 10); text(err) != "it is not a regular file" {
		t.Errorf("a directory: %v", err)
	}
	_, err := Read(filepath.Join(dir, "none"), 10)
	if got := Unreadable(err); got != "cannot be read: no such file or directory" {
		t.Errorf("got %s", got)
	}
}
