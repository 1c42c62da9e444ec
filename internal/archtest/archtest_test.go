package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rackreach/rackreach/"

// rows are the packages from the top to the bottom. A package imports packages
// of lower rows only, never one of its own row.
var rows = [][]string{
	{"cmd/rackreach"},
	{"agents/rack", "agents/coordinator", "internal/sim", "examples"},
	{"actors", "internal/api"},
	{"discovery", "internal/rackfile", "internal/boot", "internal/power", "internal/deviceapi", "internal/journal", "internal/platform", "internal/simimage", "internal/simulate", "internal/state", "internal/audit", "internal/bus", "internal/fleetlog", "internal/pki", "internal/access", "internal/bundle", "internal/depot"},
	{"discovery/foreign", "discovery/lldp", "internal/blob"},
	{"discovery/capture", "discovery/classify", "discovery/lease", "discovery/wire", "internal/durable", "internal/frames", "messages/messagesconnect"},
	{"messages"},
	{"internal/fleet"},
	{"internal/rack", "internal/strictyaml"},
}

// apart import no package of the project at all: they judge it.
var apart = []string{"internal/ordercheck", "internal/archtest", "deploy/promtest", "internal/nstest"}

// pure packages import nothing but the standard library.
var pure = []string{"internal/rack", "internal/fleet"}

func row(pkg string) int {
	for i, r := range rows {
		for _, p := range r {
			if p == pkg {
				return i
			}
		}
	}
	return -1
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
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
	for pkg, files := range packages(t) {
		if row(pkg) < 0 && !contains(apart, pkg) {
			t.Errorf("%s stands in no row: add it to rows here and to ARCHITECTURE.md", pkg)
		}
		for _, file := range files {
			for _, imported := range imports(t, file) {
				judge(t, pkg, imported)
			}
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

func judge(t *testing.T, pkg, imported string) {
	t.Helper()
	own, inside := strings.CutPrefix(imported, module)
	switch {
	case !inside:
		if contains(pure, pkg) && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
			t.Errorf("%s imports %s: the core imports nothing but the standard library", pkg, imported)
		}
	case contains(apart, pkg):
		t.Errorf("%s imports %s: it judges the product and must not share its code", pkg, own)
	case row(own) <= row(pkg):
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

func TestArchitectureNamesEveryPackage(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range packages(t) {
		if !strings.Contains(string(page), "`"+pkg+"`") {
			t.Errorf("ARCHITECTURE.md does not name `%s`", pkg)
		}
	}
}
