package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTypedDocs types what pages of the documentation show, to the letter: every
// command of a console block, in the file's order, and compares what is said. A
// block with the name of a file is that file.
func TestTypedDocs(t *testing.T) {
	for _, name := range []string{"discovery", "platforms"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			typed(t, name)
		})
	}
}

// The platform that the page walks through has twenty lines.
func TestAPlatformOfTwentyLines(t *testing.T) {
	page, err := os.ReadFile("../../docs/platforms.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml acme/acme-os.yaml\n")
	block, _, ok := strings.Cut(block, "```\n")
	if n := strings.Count(block, "\n"); !ok || n != 20 {
		t.Errorf("it has %d lines", n)
	}
}

func typed(t *testing.T, name string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/" + name + ".md")
	if err != nil {
		t.Fatal(err)
	}
	script, commands := scriptOf(t, string(page))
	if commands < 5 {
		t.Fatalf("only %d commands are shown: this test looks in the wrong place", commands)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:   dir,
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"shows": shows},
		Setup: func(e *testscript.Env) error { return os.Symlink(examples, filepath.Join(e.WorkDir, "examples")) },
	})
}

// shows runs a command, and compares its exit code with a number and what it prints, on
// both streams, with a file: shows FILE CODE COMMAND…. One that fails says why on the second
// stream. A line … in the file stands for any lines.
func shows(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[2], args[3:]...)
	code := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("it ended with %d, the page says %s: $ echo $? below the command, and the number", code, args[1])
	}
	out, notes := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if err == nil && notes != "" || err != nil && out+notes == "" {
		ts.Fatalf("it ended with %v and said %q", err, notes)
	}
	got, want := out+notes, ts.ReadFile(args[0])
	pieces := strings.Split(want, "…\n")
	rest, same := strings.CutPrefix(got, pieces[0])
	for i, p := range pieces[1:] {
		at := strings.Index(rest, p)
		if i == len(pieces)-2 { // the last one
			at = len(rest) - len(p)
			same = same && at >= 0 && rest[at:] == p
		}
		if at < 0 {
			same = false
			break
		}
		rest = rest[at+len(p):]
	}
	if !same || len(pieces) == 1 && rest != "" {
		ts.Fatalf("it says\n%s\nthe page shows\n%s", got, want)
	}
}

// scriptOf makes a script of the blocks of a page. A command ends with 0, unless the page
// shows another code: $ echo $? and a number.
func scriptOf(t *testing.T, page string) (script string, commands int) {
	t.Helper()
	var run, files strings.Builder
	kind, file, asked := "", "", false
	var codes, typed []string
	for line := range strings.Lines(page) {
		info, fence := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "```")
		switch {
		case fence && kind != "":
			kind, file = "", ""
		case fence:
			kind, file, _ = strings.Cut(info, " ")
			if kind == "" {
				kind = "text"
			}
			if kind != "console" && file != "" {
				fmt.Fprintf(&files, "-- %s --\n", file)
			}
		case kind != "console" && file != "":
			files.WriteString(line)
		case kind == "console" && line == "$ echo $?\n":
			asked = true
		case asked:
			codes[commands-1], asked = strings.TrimSpace(line), false
		case kind == "console" && strings.HasPrefix(line, "$ "):
			commands++
			command := strings.TrimSpace(line[2:])
			if !strings.HasPrefix(command, "rackreach ") {
				t.Fatalf("%q is no command of rackreach", command)
			}
			codes, typed = append(codes, "0"), append(typed, command)
			fmt.Fprintf(&files, "-- said-%d --\n", commands)
		case kind == "console":
			files.WriteString(line)
		}
	}
	for i := range typed {
		fmt.Fprintf(&run, "shows said-%d %s %s\n", i+1, codes[i], typed[i])
	}
	return run.String() + files.String(), commands
}
