//go:build lab

package installer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/job"
)

// loop makes a block device of this kernel of a file, with blocks of that size.
func loop(t *testing.T, file string, block int) (device string) {
	t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", "--sector-size", fmt.Sprint(block), file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return device
}

// A block device is installed on directly; others' tools find its table whole. One of
// other blocks takes an image without a table, and refuses one whose table counts in
// blocks of 512 bytes.
func TestLoopInstall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		block int
		table bool
	}{{"512", 512, true}, {"4096", 4096, false}, {"table of other blocks", 4096, true}} {
		t.Run(tt.name, func(t *testing.T) {
			file := blank(t, diskSize)
			device := loop(t, file, tt.block)
			raw := image(1)
			if !tt.table {
				clear(raw[:1<<20])
			}
			a := newAgent(t, raw)
			a.job.Install.Grow = tt.table
			o := a.options(device)
			o.Disks = func() ([]job.Disk, error) { return []job.Disk{{Path: device, Size: diskSize, Serial: "DISK-1"}}, nil }
			out, err := Run(t.Context(), o)
			c, all := on(t, file)
			if tt.block != 512 && tt.table {
				if err != nil || out.State != job.Failed || !strings.Contains(out.Message, "other blocks") || len(bytes.Trim(all, "\x00")) > 0 {
					t.Errorf("%+v, %v; the disk holds %q", out, err, c.Holds())
				}
				return
			}
			if err != nil || out.State != job.Installed {
				t.Fatalf("%+v, %v", out, err)
			}
			if c.Receipt == nil || c.Receipt.State != Installed || !bytes.Equal(all[1<<20:rawSize], a.raw[1<<20:]) {
				t.Errorf("%+v", c)
			}
			if out, err := Run(t.Context(), o); err != nil || !out.Kept {
				t.Errorf("again: %+v, %v", out, err)
			}
			if !tt.table {
				return
			}
			said, err := exec.Command("sgdisk", "--verify", file).CombinedOutput()
			if err != nil || !strings.Contains(string(said), "No problems found") {
				t.Errorf("sgdisk: %v: %s", err, said)
			}
			if said, err = exec.Command("sfdisk", "--verify", file).CombinedOutput(); err != nil {
				t.Errorf("sfdisk: %v: %s", err, said)
			}
		})
	}
}

// A disk that somebody uses is not opened.
func TestLoopInUse(t *testing.T) {
	device := loop(t, blank(t, diskSize), 512)
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if x, err := openTarget(device); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("%v, %v", x, err)
	}
}

// What mkfs makes is foreign data, whichever tool made it.
func TestLoopForeign(t *testing.T) {
	for tool, want := range map[string]string{"mkfs.ext4 -q -F": "ext4 ", "mkswap": "swap ", "mkfs.fat": "fat", "mke2fs -q -F -t ext2": "ext4 ", "sgdisk -o": "gpt ", "sfdisk -q -X dos": "mbr "} {
		words := strings.Fields(tool)
		if _, err := exec.LookPath(words[0]); err != nil {
			continue // not every machine has every one; the table test has all marks
		}
		file := blank(t, diskSize)
		cmd := exec.Command(words[0], append(words[1:], file)...)
		cmd.Stdin = strings.NewReader("start=2048\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", tool, err, out)
		}
		if c, _ := on(t, file); !strings.Contains(c.Holds(), want) {
			t.Errorf("%s: %q", tool, c.Holds())
		} else {
			t.Logf("%s: %s", tool, c.Holds())
		}
	}
}
