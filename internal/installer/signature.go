//go:build linux

package installer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
)

// signature is a mark that a file system, a volume manager or an array leaves on a
// whole disk. The table is our own: libraries know a few file systems to their end,
// here many must be told apart by their first bytes, and none is believed further.
type signature struct {
	name  string
	magic string
	at    int64 // from the start; negative: from the end
	id    int64 // where 16 bytes stand that make it unique, from the same end; 0: nowhere
}

// gptBackup is the copy of a partition table, at the end of a disk.
const gptBackup = "gpt-backup"

// signatures, in the order in which they are named. Sources: the formats' own
// headers (Linux fs/*/ and drivers/md, OpenZFS, LVM2, cryptsetup, VMware, Intel IMSM,
// SNIA DDF); docs in util-linux libblkid.
var signatures = []signature{
	{"ext4", "\x53\xef", 0x438, 0x468},
	{"xfs", "XFSB", 0, 32},
	{"btrfs", "_BHRfS_M", 0x10040, 0x10020},
	{"f2fs", "\x10\x20\xf5\xf2", 0x400, 0x46c},
	{"jfs", "JFS1", 0x8000, 0},
	{"reiserfs", "ReIsEr", 0x10034, 0},
	{"nilfs2", "\x34\x34", 0x406, 0},
	{"ocfs2", "OCFSV2", 0x1000, 0},
	{"gfs2", "\x01\x16\x19\x70", 0x10000, 0},
	{"ntfs", "NTFS    ", 3, 0},
	{"exfat", "EXFAT   ", 3, 0},
	{"refs", "ReFS\x00\x00\x00\x00", 3, 0},
	{"fat", "FAT12   ", 54, 0},
	{"fat", "FAT16   ", 54, 0},
	{"fat", "FAT32   ", 82, 0},
	{"hfs+", "H+\x00\x04", 0x400, 0},
	{"apfs", "NXSB", 32, 0},
	{"iso9660", "CD001", 0x8001, 0},
	{"udf", "NSR0", 0x8801, 0},
	{"squashfs", "hsqs", 0, 0},
	{"erofs", "\xe2\xe1\xf5\xe0", 0x400, 0},
	{"swap", "SWAPSPACE2", page - 10, 0x40c},
	{"swap", "SWAP-SPACE", page - 10, 0},
	{"luks", "LUKS\xba\xbe", 0, 0},
	{"luks", "SKUL\xba\xbe", 0x4000, 0},
	{"lvm", "LABELONE", 0, 0},
	{"lvm", "LABELONE", 512, 0},
	{"lvm", "LABELONE", 1024, 0},
	{"lvm", "LABELONE", 1536, 0},
	{"bcache", "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", 0x1018, 0},
	{"bcachefs", "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", 0x1018, 0},
	{"ceph", "bluestore block device", 0, 0},
	{"oracle-asm", "ORCLDISK", 32, 0},
	{"vmfs", "\x0d\xd0\x01\xc0", 0x100000, 0},
	{"md", "\xfc\x4e\x2b\xa9", 0, 16},
	{"md", "\xfc\x4e\x2b\xa9", 4096, 4096 + 16},
	{"md", "\xfc\x4e\x2b\xa9", -8192, -8192 + 16},
	{"imsm", "Intel Raid ISM Cfg Sig. ", -1024, 0},
	{"ddf", "\xde\x11\xde\x11", -512, 0},
	{"ddf", "\xde\x11\xde\x11", -131584, 0},
	{"adaptec", "DPTM", -512, 0},
	{"drbd", "\x83\x74\x02\x6b", -4096 + 60, 0},
	{gptBackup, "EFI PART", -512, -512 + 56},
	{gptBackup, "EFI PART", -4096, -4096 + 56},
}

// in looks for it at both ends of a disk, and returns what makes it unique.
func (s signature) in(start, end []byte) (id string, ok bool) {
	at, all := s.at, start
	if s.at < 0 {
		at, all = int64(len(end))+s.at, end
	}
	if !bytes.HasPrefix(all[at:], []byte(s.magic)) {
		return "", false
	}
	if s.id == 0 {
		return "", true
	}
	id16 := all[at+s.id-s.at:][:16]
	if s.name == gptBackup {
		return guid(id16), true
	}
	return uuid(id16), true
}

// zfsMagic is that of an uberblock, in both byte orders; a label has a ring of them
// (OpenZFS, on-disk specification §1.3).
var zfsMagic = [][]byte{{0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c}}

// zfs reports whether one of the two labels at the start has an uberblock.
func zfs(start []byte) bool {
	for label := range 2 {
		for at := label<<18 + 128<<10; at < (label+1)<<18; at += 1 << 10 {
			if bytes.HasPrefix(start[at:], zfsMagic[0]) || bytes.HasPrefix(start[at:], zfsMagic[1]) {
				return true
			}
		}
	}
	return false
}

// oldMD reports whether there is an array's superblock of version 0.90, which is in
// the last whole 64 KiB but one, and returns what makes it unique.
func oldMD(end []byte, size int64) (id string, ok bool) {
	at := size&^(64<<10-1) - 64<<10 - (size - int64(len(end)))
	b := end[at:]
	if binary.LittleEndian.Uint32(b) != 0xa92b4efc || binary.LittleEndian.Uint32(b[4:]) != 0 {
		return "", false
	}
	return hex.EncodeToString(b[20:24]), true
}
