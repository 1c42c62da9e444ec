//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/kmod"
)

// modules are those of the initramfs.
type modules struct {
	root     string
	dir      string
	tables   *kmod.Tables // nil: there are none, all is built in
	say      func(string)
	insert   func(*os.File) error // into the kernel
	tried    map[string]bool      // files, and names that there is no file of
	problems []string             // what could not be loaded, and why; at most job.MaxProblems
}

func openModules(root string, say func(string)) *modules {
	m := &modules{root: root, say: say, tried: map[string]bool{},
		insert: func(f *os.File) error { return unix.FinitModule(int(f.Fd()), "", 0) }}
	dirs, _ := filepath.Glob(filepath.Join(root, "lib/modules/*"))
	if len(dirs) != 1 {
		return m
	}
	m.dir = dirs[0]
	tables, err := readTables(m.dir)
	if err != nil {
		m.trouble("the tables of modules cannot be read: " + err.Error())
		return m
	}
	m.tables = tables
	return m
}

func readTables(dir string) (*kmod.Tables, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	aliases, aliasErr := os.ReadFile(filepath.Join(dir, "modules.alias"))
	if err := errors.Join(err, aliasErr); err != nil {
		return nil, err
	}
	t, err := kmod.Read(bytes.NewReader(dep), bytes.NewReader(aliases))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil // made by an older rackreach, or the kernel came without
	}
	if err == nil {
		err = t.ReadBuiltin(bytes.NewReader(builtin))
	}
	return t, err
}

// trouble says once what could not be loaded: on the console, and to the agent with
// what the machine has. What is more than the bound of that is on the console only.
func (m *modules) trouble(what string) {
	m.say("problem: " + what)
	if len(m.problems) < job.MaxProblems {
		m.problems = append(m.problems, what)
	}
}

// coldplug loads what the machine's devices ask for, until nothing new does.
func (m *modules) coldplug() {
	if m.tables == nil {
		m.say("the initramfs has no modules: what the kernel has built in must do")
		return
	}
	var all []string
	for quiet := 0; quiet < 3 && len(m.tried) < 10000; {
		var loaded []string
		for _, alias := range m.aliases() {
			loaded = append(loaded, m.load(m.tables.Wants(alias)...)...)
		}
		if all = append(all, loaded...); len(loaded) == 0 {
			quiet++
		} else {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	all = append(all, m.load("efivarfs", "af_packet")...)
	m.say(fmt.Sprintf("%d modules: %s", len(all), strings.Join(all, " ")))
}

// aliases are what the devices of the machine ask for.
func (m *modules) aliases() (out []string) {
	seen := map[string]bool{}
	_ = filepath.WalkDir(filepath.Join(m.root, "sys/devices"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "modalias" {
			return nil // what cannot be read asks for nothing
		}
		b, err := os.ReadFile(path)
		if a := strings.TrimSpace(string(b)); err == nil && a != "" && !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
		return nil
	})
	return out
}

// load loads modules and what they need, once, and returns those that are new. A module
// that does not want to be loaded (its device is not there) is no error; one that is not
// there, or that the kernel does not take, is a problem.
func (m *modules) load(names ...string) (loaded []string) {
	if m.tables == nil {
		return nil
	}
	files, missing := m.tables.Order(names...)
	for _, name := range missing {
		if !m.tried[name] {
			m.tried[name] = true
			m.trouble(fmt.Sprintf("the initramfs has no module %s", kmod.Name(name)))
		}
	}
	for _, f := range files {
		if m.tried[f] {
			continue
		}
		m.tried[f] = true
		switch err := m.loadFile(f); {
		case err == nil:
			loaded = append(loaded, kmod.Name(f))
		case !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EEXIST):
			m.trouble(fmt.Sprintf("module %s is not loaded: %v", kmod.Name(f), err))
		}
	}
	return loaded
}

func (m *modules) loadFile(name string) error {
	file, err := os.Open(filepath.Join(m.dir, name))
	if err != nil {
		return err
	}
	return errors.Join(m.insert(file), file.Close())
}
