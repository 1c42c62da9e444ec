package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rackreach/rackreach/"

// apart is the row of packages that import no package of the project at all: they
// judge it.
const apart = -1

// pure packages import nothing but the standard library.
var pure = []string{"internal/rack", "internal/fleet"}

// line is one row of the table of ARCHITECTURE.md: | row | `package` | what for |.
var line = regexp.MustCompile("^\\| ([0-9]+|–) \\| `([^`]+)` \\| .+ \\|$")

// rows are the packages of ARCHITECTURE.md with their rows. A package imports
// packages of lower rows, with higher numbers, only.
func rows(t *testing.T) map[string]int {
	t.Helper()
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for l := range strings.Lines(string(page)) {
		m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil {
			continue
		}
		if _, twice := out[m[2]]; twice {
			t.Errorf("ARCHITECTURE.md has %s in two rows", m[2])
		}
		out[m[2]] = apart
		if n, err := strconv.Atoi(m[1]); err == nil {
			out[m[2]] = n
		}
	}
	return out
}

// packages are the project's packages and the Go files of each that are not tests.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || (strings.HasPrefix(d.Name(), ".") && path != root)):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		out[filepath.ToSlash(rel)] = append(out[filepath.ToSlash(rel)], path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("only %d packages found: this test looks in the wrong place", len(out))
	}
	return out
}

func TestImportsPointDown(t *testing.T) {
	rows, found := rows(t), packages(t)
	for pkg, files := range found {
		if _, ok := rows[pkg]; !ok {
			t.Errorf("ARCHITECTURE.md has no row for %s", pkg)
			continue
		}
		for _, file := range files {
			for _, imported := range imports(t, file) {
				judge(t, rows, pkg, imported)
			}
		}
	}
	for pkg := range rows {
		if len(found[pkg]) == 0 {
			t.Errorf("ARCHITECTURE.md has a row for %s, which is no package", pkg)
		}
	}
}

func imports(t *testing.T, file string) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range f.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

func judge(t *testing.T, rows map[string]int, pkg, imported string) {
	t.Helper()
	own, inside := strings.CutPrefix(imported, module)
	switch {
	case !inside:
		if slices.Contains(pure, pkg) && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
			t.Errorf("%s imports %s: the core imports nothing but the standard library", pkg, imported)
		}
	case rows[pkg] == apart:
		t.Errorf("%s imports %s: it judges the product and must not share its code", pkg, own)
	case rows[own] <= rows[pkg]:
		t.Errorf("%s imports %s, which is not in a lower row", pkg, own)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for pkg, files := range packages(t) {
		said := false
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			said = said || f.Doc != nil && len(f.Doc.Text()) > 20
		}
		if !said {
			t.Errorf("package %s has no doc comment", pkg)
		}
	}
}
