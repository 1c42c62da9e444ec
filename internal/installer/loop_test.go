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

// A block device is installed on directly; others' tools find its table whole.
func TestLoopInstall(t *testing.T) {
	for _, block := range []int{512, 4096} {
		t.Run(fmt.Sprint(block), func(t *testing.T) {
			file := blank(t, diskSize)
			device := loop(t, file, block)
			a := newAgent(t, image(1))
			a.job.Install.Grow = block == 512 // the image's table is for blocks of 512 bytes
			o := a.options(device)
			o.Disks = func() ([]job.Disk, error) { return []job.Disk{{Path: device, Size: diskSize, Serial: "DISK-1"}}, nil }
			if out, err := Run(t.Context(), o); err != nil || out.State != job.Installed {
				t.Fatalf("%+v, %v", out, err)
			}
			c, all := on(t, file)
			if c.Receipt == nil || c.Receipt.State != Installed || !bytes.Equal(all[1<<20:rawSize], a.raw[1<<20:]) {
				t.Errorf("%+v", c)
			}
			if out, err := Run(t.Context(), o); err != nil || !out.Kept {
				t.Errorf("again: %+v, %v", out, err)
			}
			if block != 512 {
				return
			}
			out, err := exec.Command("sgdisk", "--verify", file).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "No problems found") {
				t.Errorf("sgdisk: %v: %s", err, out)
			}
			if out, err = exec.Command("sfdisk", "--verify", file).CombinedOutput(); err != nil {
				t.Errorf("sfdisk: %v: %s", err, out)
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
