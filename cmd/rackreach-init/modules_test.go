//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/job"
)

// initramfsWith is the root of an initramfs with those modules (files that are empty),
// and the tables of a kernel.
func initramfsWith(t *testing.T, dep, builtin string, files ...string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules/6.1")
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put("modules.dep", dep)
	put("modules.alias", "")
	if builtin != "" {
		put("modules.builtin", builtin)
	}
	for _, f := range files {
		put(f, "")
	}
	return root
}

// What cannot be loaded is said once, and told to the agent; what the machine has no
// device for, and what the kernel has built in, is not.
func TestModulesThatAreMissing(t *testing.T) {
	var said []string
	m := openModules(initramfsWith(t, "a.ko: b.ko\nb.ko:\nc.ko: gone.ko\nlost.ko:\nno-device.ko:\nbad.ko:\n", "fs/ext4.ko\n", "a.ko", "b.ko", "c.ko", "no-device.ko", "bad.ko"),
		func(s string) { said = append(said, s) })
	m.insert = func(f *os.File) error {
		switch filepath.Base(f.Name()) {
		case "no-device.ko":
			return unix.ENODEV
		case "bad.ko":
			return unix.ENOEXEC
		}
		return nil
	}
	for range 2 { // devices are looked at again and again
		m.load("a", "c", "ext4", "xfs", "lost", "no_device", "bad")
	}
	want := []string{"the initramfs has no module gone", "the initramfs has no module xfs", "module lost is not loaded: open", "module bad is not loaded: exec format error"}
	if len(m.problems) != len(want) || len(said) != len(want) {
		t.Fatalf("%q, said %q", m.problems, said)
	}
	for i, w := range want {
		if !strings.HasPrefix(m.problems[i], w) || said[i] != "problem: "+m.problems[i] {
			t.Errorf("%q, said %q; want %q", m.problems[i], said[i], w)
		}
	}
	if again := m.load("b"); len(again) != 0 {
		t.Errorf("%v is loaded twice", again)
	}
}

// A machine that asks for more than anybody reads is told of in part.
func TestProblemsAreBounded(t *testing.T) {
	said := 0
	m := openModules(initramfsWith(t, "a.ko:\n", ""), func(string) { said++ })
	var names []string
	for n := range 2 * job.MaxProblems {
		names = append(names, "m"+strings.Repeat("x", n))
	}
	m.load(names...)
	if len(m.problems) != job.MaxProblems || said != 2*job.MaxProblems {
		t.Errorf("%d problems, %d said", len(m.problems), said)
	}
	b, err := job.Marshal(job.Hardware{Problems: m.problems})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := job.ParseHardware(b); err != nil || !slices.Equal(h.Problems[:10], m.problems[:10]) {
		t.Errorf("%+v, %v", h, err)
	}
}

// Tables that cannot be read are a problem, not silence.
func TestDamagedTables(t *testing.T) {
	m := openModules(initramfsWith(t, "nonsense\n", ""), func(string) {})
	if m.tables != nil || len(m.problems) != 1 || !strings.Contains(m.problems[0], "modules.dep") {
		t.Errorf("%q", m.problems)
	}
}
