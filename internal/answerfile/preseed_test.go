package answerfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPreseedNeverPartitionsUnjudged runs the command that Debian's installer runs before
// its partitioner. When that is asked for no disk, it takes the only one there is
// (installation guide, appendix B.4.7); so the command must not end before disk.sh has
// named one, whatever goes wrong.
func TestPreseedNeverPartitionsUnjudged(t *testing.T) {
	text, err := jobs(t)["preseed"].File("preseed.cfg")
	if err != nil {
		t.Fatal(err)
	}
	_, command, ok := strings.Cut(string(text), "partman/early_command string ")
	command, _, _ = strings.Cut(command, "\n")
	if !ok {
		t.Fatal("there is no early_command")
	}
	if !strings.Contains(string(text), "d-i partman-auto/disk string /dev/rackreach-disk\n") {
		t.Error("until then, the partitioner may take any disk")
	}
	for _, x := range []struct{ what, fetched, says string }{
		{"all is well", "rr_judged=sda", "set partman-auto/disk /dev/sda\nset grub-installer/bootdev /dev/sda\n"},
		{"the script does not come", "", "waits\n"},
		{"the script comes empty", "true", "waits\n"},
		{"the script comes in part", "rr_judged=sda; if", "waits\n"},
		{"the script comes without its end", "rr_disk=sda", "waits\n"},
		{"the script fails", "rr_judged=sda; false", "waits\n"},
	} {
		t.Run(x.what, func(t *testing.T) {
			dir := t.TempDir()
			for name, does := range map[string]string{
				"preseed_fetch": `[ -n "$FETCHED" ] && echo "$FETCHED" >"$2"`,
				"debconf-set":   `echo "set $1 $2"`,
				"sleep":         `echo waits; kill "$PPID"`,
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+does+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "/tmp/", dir+"/"))
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "FETCHED="+x.fetched)
			out, err := cmd.Output()
			if string(out) != x.says || (err == nil) != strings.HasPrefix(x.says, "set") {
				t.Errorf("it says %q, %v; want %q", out, err, x.says)
			}
		})
	}
}
