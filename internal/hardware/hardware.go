// Package hardware finds what a machine has, by what its Linux kernel shows of it
// below /sys and /proc.
//
// It reads a file tree and nothing else, so that the trees of real machines can be
// kept as tests. What cannot be read is left out: a machine without a serial number
// is still a machine.
package hardware

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/job"
)

// sector is the unit of a disk's size in /sys, in bytes, whatever its blocks are.
const sector = 512

// Find finds all but the neighbours. root is the tree: os.DirFS("/").
func Find(root fs.FS) job.Hardware {
	t := tree{root}
	h := job.Hardware{
		UUID: t.text("sys/class/dmi/id/product_uuid"), Serial: t.text("sys/class/dmi/id/product_serial"),
		Vendor: t.text("sys/class/dmi/id/sys_vendor"), Model: t.text("sys/class/dmi/id/product_name"),
		Firmware: job.BIOS, Disks: Disks(root), NICs: t.nics(),
	}
	if t.there("sys/firmware/efi") {
		h.Firmware = job.UEFI
	}
	for _, l := range strings.Split(t.text("proc/cpuinfo"), "\n") {
		switch k, v, _ := strings.Cut(l, ":"); strings.TrimSpace(k) {
		case "processor":
			h.Threads++
		case "model name":
			h.CPU = strings.TrimSpace(v)
		}
	}
	for _, l := range strings.Split(t.text("proc/meminfo"), "\n") {
		if k, v, _ := strings.Cut(l, ":"); k == "MemTotal" {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			h.Memory = kib << 10
		}
	}
	return h
}

// Disks lists what can be installed on, by name: no loop devices, no arrays, no
// optical drives, no ways to the same disk.
func Disks(root fs.FS) (out []job.Disk) {
	t := tree{root}
	for _, name := range t.names("sys/block") {
		at := "sys/block/" + name
		if !t.there(at+"/device") || t.text(at+"/hidden") == "1" || t.text(at+"/device/type") == "5" || strings.HasPrefix(name, "mmcblk") && strings.Contains(name, "boot") {
			continue // 5: SCSI's type of a CD drive (SPC-4, peripheral device type)
		}
		link, _ := fs.ReadLink(root, at)
		out = append(out, job.Disk{
			Path: "/dev/" + name, Size: t.number(at+"/size") * sector, Block: t.number(at + "/queue/logical_block_size"),
			Serial: t.serial(at), Model: t.text(at + "/device/model"),
			Removable: t.text(at+"/removable") == "1", ReadOnly: t.text(at+"/ro") == "1", Rotational: t.text(at+"/queue/rotational") == "1",
			USB: strings.Contains(link, "/usb"),
		})
	}
	return out
}

// serial is a disk's serial number, where its kind of disk shows it: virtio, NVMe and
// MMC, SCSI and SATA (SPC-4, vital product data page 80h).
func (t tree) serial(at string) string {
	for _, f := range []string{"/serial", "/device/serial"} {
		if s := t.text(at + f); s != "" {
			return s
		}
	}
	b, err := fs.ReadFile(t.root, at+"/device/vpd_pg80")
	if err != nil || len(b) < 4 {
		return ""
	}
	return job.Printable(strings.TrimRight(string(b[4:]), "\x00"), 120)
}

func (t tree) nics() (out []job.NIC) {
	for _, name := range t.names("sys/class/net") {
		at := "sys/class/net/" + name
		if !t.there(at + "/device") {
			continue
		}
		driver, _ := fs.ReadLink(t.root, at+"/device/driver")
		if driver != "" {
			driver = path.Base(driver)
		}
		out = append(out, job.NIC{Name: name, MAC: t.text(at + "/address"), Link: t.text(at+"/carrier") == "1", Speed: int(max(t.number(at+"/speed"), 0)), Driver: driver})
	}
	return out
}

// tree is the files of a kernel.
type tree struct{ root fs.FS }

// text is a file without the spaces around it; empty: it cannot be read.
func (t tree) text(name string) string {
	b, err := fs.ReadFile(t.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (t tree) number(name string) int64 {
	n, _ := strconv.ParseInt(t.text(name), 10, 64)
	return n
}

func (t tree) there(name string) bool {
	_, err := fs.Stat(t.root, name)
	return err == nil
}

func (t tree) names(dir string) (out []string) {
	all, _ := fs.ReadDir(t.root, dir)
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}
