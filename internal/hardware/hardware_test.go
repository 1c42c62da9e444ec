package hardware

import (
	"io/fs"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/rackreach/rackreach/internal/job"
)

// machine is one with a virtio disk, an NVMe disk, a SATA disk, a stick, a CD drive,
// and what is no disk.
func machine() fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range map[string]string{
		"sys/class/dmi/id/product_uuid": "0bad77cd-0000-4000-8000-525400770001\n", "sys/class/dmi/id/sys_vendor": "QEMU\n",
		"proc/cpuinfo":            "processor\t: 0\nmodel name\t: QEMU Virtual CPU\n\nprocessor\t: 1\nmodel name\t: QEMU Virtual CPU\n",
		"proc/meminfo":            "MemTotal:         235392 kB\nMemFree: 1 kB\n",
		"sys/firmware/efi/x":      "",
		"d/pci/vda/size":          "204800\n",
		"d/pci/vda/serial":        "DISK-1\n",
		"d/pci/vda/device/x":      "",
		"d/pci/vda/removable":     "0\n",
		"d/nvme0n1/size":          "8\n",
		"d/nvme0n1/device/x":      "",
		"d/nvme0n1/device/serial": "  S4  \n", "d/nvme0n1/device/model": "Fast\n", "d/nvme0n1/queue/logical_block_size": "4096\n",
		"d/sda/size": "100\n", "d/sda/device/vpd_pg80": "\x00\x80\x00\x08 WD-1234\x00", "d/sda/queue/rotational": "1\n", "d/sda/ro": "1\n",
		"d/usb1/sdb/size": "100\n", "d/usb1/sdb/device/x": "", "d/usb1/sdb/removable": "1\n",
		"d/sr0/size": "100\n", "d/sr0/device/type": "5\n",
		"sys/block/loop0/size": "8\n", "sys/block/nvme0c0n1/hidden": "1\n", "sys/block/nvme0c0n1/device/x": "", "sys/block/mmcblk0boot0/device/x": "",
		"sys/class/net/lo/address": "00:00:00:00:00:00\n", "sys/class/net/eth0/address": "52:54:00:77:00:01\n", "sys/class/net/eth0/carrier": "1\n",
		"sys/class/net/eth0/speed": "-1\n", "sys/class/net/eth0/device/x": "",
	} {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for name, to := range map[string]string{
		"sys/block/vda": "../../d/pci/vda", "sys/block/nvme0n1": "../../d/nvme0n1", "sys/block/sda": "../../d/sda", "sys/block/sdb": "../../d/usb1/sdb", "sys/block/sr0": "../../d/sr0",
		"sys/class/net/eth0/device/driver": "../../../../../d/virtio_net",
	} {
		m[name] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	}
	return m
}

func TestFind(t *testing.T) {
	want := job.Hardware{
		UUID: "0bad77cd-0000-4000-8000-525400770001", Vendor: "QEMU", Firmware: job.UEFI, CPU: "QEMU Virtual CPU", Threads: 2, Memory: 235392 << 10,
		Disks: []job.Disk{
			{Path: "/dev/nvme0n1", Size: 4096, Block: 4096, Serial: "S4", Model: "Fast"},
			{Path: "/dev/sda", Size: 51200, Serial: "WD-1234", ReadOnly: true, Rotational: true},
			{Path: "/dev/sdb", Size: 51200, Removable: true, USB: true},
			{Path: "/dev/vda", Size: 100 << 20, Serial: "DISK-1"},
		},
		NICs: []job.NIC{{Name: "eth0", MAC: "52:54:00:77:00:01", Link: true, Driver: "virtio_net"}},
	}
	if got := Find(machine()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A machine that shows nothing is one that has nothing.
func TestNothing(t *testing.T) {
	if got := Find(fstest.MapFS{}); !reflect.DeepEqual(got, job.Hardware{Firmware: job.BIOS}) {
		t.Errorf("%+v", got)
	}
}
