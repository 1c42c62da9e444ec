package answerfile

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// disk is one of a machine that is made of files.
type disk struct {
	name, serial string
	mib          int
	removable    bool
	usb          bool
	holds        string // at its begin
	tail         string // at its end
	middle       string // at 3 MiB
}

// machine lays a machine's disks out as the kernel shows them, below a folder.
func machine(t *testing.T, disks []disk) (dir string) {
	t.Helper()
	dir = t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("sys/block/loop0/size", "0\n")
	put("sys/block/loop1/size", "8192\n") // never meant, whatever its size
	for _, d := range disks {
		at := "sys/block/" + d.name
		if d.usb { // which its place in the tree of devices says
			at = "sys/devices/pci0/usb1/1-1/block/" + d.name
			if err := os.Symlink("../devices/pci0/usb1/1-1/block/"+d.name, filepath.Join(dir, "sys/block", d.name)); err != nil {
				t.Fatal(err)
			}
		}
		removable := "0\n"
		if d.removable {
			removable = "1\n"
		}
		put(at+"/size", strconv.Itoa(d.mib<<20/512)+"\n")
		put(at+"/removable", removable)
		if d.serial != "" {
			put(at+"/serial", d.serial+"  \n")
		}
		b := make([]byte, d.mib<<20)
		copy(b, d.holds)
		copy(b[len(b)-len(d.tail):], d.tail)
		if d.middle != "" {
			copy(b[3<<20:], d.middle)
		}
		put("dev/"+d.name, string(b))
	}
	return dir
}

// contentOf is what disk.sh says that a disk holds.
func contentOf(d disk) string {
	b := make([]byte, 2*lookedAt)
	copy(b, d.holds)
	copy(b[len(b)-len(d.tail):], d.tail)
	return fmt.Sprintf("foreign:content-%x", sha256.Sum256(b))
}

// middleOf is the same of one whose ends are blank: all samples of 64 KiB from 1 MiB on.
func middleOf(d disk) string {
	b := make([]byte, 4<<20)
	copy(b[2<<20:], d.middle)
	return fmt.Sprintf("foreign:content-%x", sha256.Sum256(b))
}

// TestDiskScript runs disk.sh on machines that are made of files: it goes on with one
// disk, the meant one, and only when nothing is lost on it that the ticket does not
// name. Everything else is told to the agent, and ends it.
func TestDiskScript(t *testing.T) {
	blank := disk{name: "sda", serial: "S1", mib: 4}
	other := disk{name: "nvme0n1", serial: "S2", mib: 8}
	foreign, tailed := blank, blank
	foreign.holds, tailed.tail = "EFI PART", "EFI PART"
	inside := disk{name: "sda", mib: 8, middle: "a file system whose table was wiped"}
	stick := disk{name: "sdb", mib: 4, removable: true}
	fixed := disk{name: "sdc", serial: "S3", mib: 4, usb: true} // a disk in a case, or a card of a BMC
	for _, x := range []struct {
		what       string
		disks      []disk
		rule       rack.DiskRule
		overwrites string
		disk       string // it goes on with
		tells      string // or it ends, and tells
	}{
		{"the only disk", []disk{blank, stick}, rack.DiskRule{}, "", "sda", ""},
		{"none", []disk{stick}, rack.DiskRule{}, "", "", Failed + " no disk is as the rack file says under install.disk"},
		{"the only one that is not on USB", []disk{blank, fixed}, rack.DiskRule{}, "", "sda", ""},
		{"one on USB", []disk{fixed}, rack.DiskRule{MinSize: 1}, "", "", Failed + " no disk is as the rack file says under install.disk"},
		{"one on USB that is named by its serial", []disk{blank, fixed}, rack.DiskRule{Serial: "S3"}, "", "sdc", ""},
		{"one on USB that is named by its path", []disk{blank, fixed}, rack.DiskRule{Path: "/dev/sdc"}, "", "sdc", ""},
		{"two", []disk{blank, other}, rack.DiskRule{}, "", "", Failed + " two disks are as the rack file says: nvme0n1 and sda. Say more under install.disk"},
		{"by serial", []disk{blank, other}, rack.DiskRule{Serial: "S1"}, "", "sda", ""},
		{"by path", []disk{blank, other}, rack.DiskRule{Path: "/dev/nvme0n1"}, "", "nvme0n1", ""},
		{"by size", []disk{blank, other}, rack.DiskRule{MinSize: 5 << 20}, "", "nvme0n1", ""},
		{"by the other size", []disk{blank, other}, rack.DiskRule{MaxSize: 4 << 20}, "", "sda", ""},
		{"serial and size disagree", []disk{blank, other}, rack.DiskRule{Serial: "S1", MinSize: 5 << 20}, "", "", Failed + " no disk is as the rack file says under install.disk"},
		{"foreign data", []disk{foreign}, rack.DiskRule{}, "", "", Refused + " " + contentOf(foreign)},
		{"foreign data at its end", []disk{tailed}, rack.DiskRule{}, "", "", Refused + " " + contentOf(tailed)},
		{"foreign data between its ends", []disk{inside}, rack.DiskRule{}, "", "", Refused + " " + middleOf(inside)},
		{"foreign data between its ends that is named", []disk{inside}, rack.DiskRule{}, middleOf(inside), "sda", ""},
		{"foreign data that is named", []disk{foreign}, rack.DiskRule{}, contentOf(foreign), "sda", ""},
		{"other foreign data than is named", []disk{tailed}, rack.DiskRule{}, contentOf(foreign), "", Refused + " " + contentOf(tailed)},
		{"a blank one, when others are named", []disk{blank}, rack.DiskRule{}, contentOf(foreign), "sda", ""},
	} {
		t.Run(x.what, func(t *testing.T) {
			dir := machine(t, x.disks)
			j := jobs(t)["preseed"]
			j.Overwrites = x.overwrites
			if x.rule.Path != "" {
				x.rule.Path = dir + x.rule.Path
			}
			j.Rack.Devices[0].Install.Disk = x.rule
			text, err := j.File("disk.sh")
			if err != nil {
				t.Fatal(err)
			}
			script := strings.NewReplacer("/sys/block", dir+"/sys/block", `"/dev/`, `"`+dir+`/dev/`, "while :; do sleep 3600; done", "exit 9").Replace(string(text))
			// What would be sent is printed; nothing is mounted.
			script = "curl() { echo \"told: $8 $7\"; }\nmount() { return 1; }\n" + script
			cmd := exec.Command("sh", "-c", script)
			out, err := cmd.Output()
			want := "rackreach: the disk is /dev/" + x.disk + "\n"
			if x.tells != "" {
				want = "told: " + x.tells + "\n"
			}
			got := strings.NewReplacer(dir, "", j.Base+"/", "").Replace(string(out))
			if got != want || (err != nil) != (x.tells != "") {
				t.Errorf("it says %q, %v; want %q", got, err, want)
			}
		})
	}
}
