//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/kmod"
)

// modules are those of the initramfs.
type modules struct {
	root   string
	dir    string
	tables *kmod.Tables // nil: there are none, all is built in
	tried  map[string]bool
}

func openModules(root string) *modules {
	m := &modules{root: root, tried: map[string]bool{}}
	dirs, _ := filepath.Glob(filepath.Join(root, "lib/modules/*"))
	if len(dirs) != 1 {
		return m
	}
	m.dir = dirs[0]
	dep, err := os.ReadFile(filepath.Join(m.dir, "modules.dep"))
	aliases, aliasErr := os.ReadFile(filepath.Join(m.dir, "modules.alias"))
	if errors.Join(err, aliasErr) != nil {
		return m
	}
	m.tables, _ = kmod.Read(strings.NewReader(string(dep)), strings.NewReader(string(aliases)))
	return m
}

// coldplug loads what the machine's devices ask for, until nothing new does.
func (m *modules) coldplug(say func(string)) {
	if m.tables == nil {
		say("the initramfs has no modules: what the kernel has built in must do")
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
	say(fmt.Sprintf("%d modules: %s", len(all), strings.Join(all, " ")))
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
// that does not want to be loaded (its device is not there) is no error.
func (m *modules) load(names ...string) (loaded []string) {
	if m.tables == nil {
		return nil
	}
	files, _ := m.tables.Order(names...)
	for _, f := range files {
		if m.tried[f] {
			continue
		}
		m.tried[f] = true
		file, err := os.Open(filepath.Join(m.dir, f))
		if err != nil {
			continue
		}
		err = unix.FinitModule(int(file.Fd()), "", 0)
		_ = file.Close()
		if err == nil {
			loaded = append(loaded, kmod.Name(f))
		}
	}
	return loaded
}
