// Package kmod reads the tables by which modules of a Linux kernel are found: what
// depmod wrote into modules.dep and modules.alias.
//
// It is pure. The builder of an initramfs asks it which files a module needs, and
// /init of that initramfs which modules a device asks for. Only what these two need
// is here: nothing is loaded.
//
// # Bounds
//
// The tables are a kernel package's, and trusted as that is. Their lines are bounded
// by the reader.
package kmod

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// maxLine bounds a line of a table, in bytes.
const maxLine = 1 << 20

// Tables are those of one kernel.
type Tables struct {
	needs   map[string][]string // files by file, what is needed last is first, as depmod writes it
	byName  map[string]string   // file by module name
	aliases []alias
	builtin map[string]bool // by module name: part of the kernel itself
}

type alias struct{ pattern, module string }

// Read reads modules.dep and modules.alias.
func Read(dep, aliases io.Reader) (*Tables, error) {
	t := &Tables{needs: map[string][]string{}, byName: map[string]string{}}
	err := lines(dep, func(l string) error {
		file, needs, ok := strings.Cut(l, ":")
		if !ok || file == "" {
			return fmt.Errorf("modules.dep: %.80q is not FILE: FILE…", l)
		}
		t.needs[file] = strings.Fields(needs)
		t.byName[Name(file)] = file
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = lines(aliases, func(l string) error {
		f := strings.Fields(l)
		if len(f) != 3 || f[0] != "alias" {
			return nil // a comment
		}
		t.aliases = append(t.aliases, alias{f[1], plain(f[2])})
		return nil
	})
	return t, err
}

// ReadBuiltin reads modules.builtin, which lists what is no module but part of the kernel:
// it is never missing then. Kernels come without it, too.
func (t *Tables) ReadBuiltin(r io.Reader) error {
	t.builtin = map[string]bool{}
	return lines(r, func(l string) error {
		t.builtin[Name(l)] = true
		return nil
	})
}

func lines(r io.Reader, each func(string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		if l := strings.TrimSpace(s.Text()); l != "" && l[0] != '#' {
			if err := each(l); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

// Name is the name of the module in a file: without folders, ending and compression,
// and with _ for -, as kernels compare names.
func Name(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return plain(name)
}

func plain(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Files lists all module files, sorted.
func (t *Tables) Files() []string {
	out := make([]string, 0, len(t.needs))
	for f := range t.needs {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// Order lists the files of modules, by name or by file, and all that they need, each
// once and after what it needs itself. Modules that there is no file of are in missing,
// each once, by the name that asked for them; those that ReadBuiltin knows are not.
func (t *Tables) Order(modules ...string) (files, missing []string) {
	seen := map[string]bool{}
	var add func(string)
	add = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		if _, ok := t.needs[file]; !ok {
			if !t.builtin[Name(file)] {
				missing = append(missing, file)
			}
			return
		}
		needs := slices.Clone(t.needs[file])
		slices.Reverse(needs)
		for _, n := range needs {
			add(n)
		}
		files = append(files, file)
	}
	for _, m := range modules {
		if file, ok := t.byName[plain(m)]; ok {
			m = file
		}
		add(m)
	}
	return files, missing
}

// Wants lists the modules that a device asks for by its modalias, sorted.
func (t *Tables) Wants(modalias string) (modules []string) {
	for _, a := range t.aliases {
		if ok, err := path.Match(a.pattern, modalias); ok && err == nil {
			modules = append(modules, a.module)
		}
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

// AliasesOf writes the lines of modules.alias that are for these files, as Read reads
// them.
func (t *Tables) AliasesOf(files []string) string {
	in := map[string]bool{}
	for _, f := range files {
		in[Name(f)] = true
	}
	var b strings.Builder
	for _, a := range t.aliases {
		if in[a.module] {
			fmt.Fprintf(&b, "alias %s %s\n", a.pattern, a.module)
		}
	}
	return b.String()
}

// DepsOf writes the lines of modules.dep that are for these files.
func (t *Tables) DepsOf(files []string) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "%s:", f)
		for _, n := range t.needs[f] {
			fmt.Fprintf(&b, " %s", n)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
