//go:build linux

// Package efivar makes the firmware of a UEFI machine boot what was installed: it
// writes a boot option, and puts it first in the boot order (UEFI 2.10 §3.1).
//
// It writes into the kernel's efivarfs, whose files hold four bytes of attributes and
// then the variable. Options of others stay; one of ours that says the same is used
// again, so that installing again and again does not fill the firmware's memory.
package efivar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// global is the namespace of the firmware's own variables.
const global = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// attributes: non-volatile, for boot services and at run time.
const attributes = 1 | 2 | 4

// active is the attribute of an option that may be booted.
const active = 1

// immutable is the flag of a file that nobody changes (linux/fs.h, FS_IMMUTABLE_FL).
const immutable = 0x10

// maxVariable bounds what is read of a variable, in bytes.
const maxVariable = 64 << 10

// Disk is where a loader is.
type Disk struct {
	Number      uint32   // of the partition
	First, Size uint64   // blocks
	ID          [16]byte // of the partition, as it stands in a GPT
	Loader      string   // path in it, with backslashes
}

// option is the bytes of a boot option: EFI_LOAD_OPTION with a short device path, hard
// drive and file, which firmware completes (§3.1.2).
func (d Disk) option(name string) []byte {
	le := binary.LittleEndian
	drive := []byte{4, 1, 42, 0} // media, hard drive (§10.3.5.1)
	drive = le.AppendUint32(drive, d.Number)
	drive = le.AppendUint64(drive, d.First)
	drive = le.AppendUint64(drive, d.Size)
	drive = append(drive, d.ID[:]...)
	drive = append(drive, 2, 2) // a GPT, whose signature is a GUID
	loader := wide(d.Loader)
	file := append(le.AppendUint16([]byte{4, 4}, uint16(4+len(loader))), loader...) // §10.3.5.4
	path := slices.Concat(drive, file, []byte{0x7f, 0xff, 4, 0})

	b := le.AppendUint32(nil, active)
	b = le.AppendUint16(b, uint16(len(path)))
	return slices.Concat(b, wide(name), path)
}

// wide is a text in UCS-2 with a zero at its end.
func wide(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// BootFirst makes the loader of a disk the first that the firmware of the machine
// tries. dir is the efivarfs.
func BootFirst(dir, name string, d Disk) error {
	option := d.option(name)
	n, err := place(dir, option)
	if err != nil {
		return fmt.Errorf("write a boot option: %w", err)
	}
	order, err := read(dir, "BootOrder")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the boot order: %w", err)
	}
	first := binary.LittleEndian.AppendUint16(nil, n)
	for ; len(order) >= 2; order = order[2:] {
		if !bytes.Equal(order[:2], first[:2]) {
			first = append(first, order[:2]...)
		}
	}
	if err := write(dir, "BootOrder", first); err != nil {
		return fmt.Errorf("write the boot order: %w", err)
	}
	return nil
}

// place writes an option under a number that is free, unless it is there already.
func place(dir string, option []byte) (uint16, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	used := map[uint16]bool{}
	for _, e := range entries {
		var n uint16
		name, ok := strings.CutSuffix(e.Name(), global)
		if !ok || len(name) != len("Boot0000") {
			continue
		}
		if _, err := fmt.Sscanf(name, "Boot%04X", &n); err != nil {
			continue
		}
		if b, err := read(dir, name); err == nil && bytes.Equal(b, option) {
			return n, nil
		}
		used[n] = true
	}
	for n := range uint16(0xffff) {
		if !used[n] {
			return n, write(dir, fmt.Sprintf("Boot%04X", n), option)
		}
	}
	return 0, errors.New("all numbers are taken")
}

func read(dir, name string) ([]byte, error) {
	st, err := os.Stat(filepath.Join(dir, name+global))
	if err != nil {
		return nil, err
	}
	if st.Size() > maxVariable {
		return nil, fmt.Errorf("%s has %d bytes", name, st.Size())
	}
	b, err := os.ReadFile(filepath.Join(dir, name+global))
	if err != nil {
		return nil, err
	}
	if len(b) < 4 {
		return nil, fmt.Errorf("%s has %d bytes", name, len(b))
	}
	return b[4:], nil
}

// write sets a variable: one write, as efivarfs wants it. Variables that are there are
// immutable files, against rm -rf.
func write(dir, name string, value []byte) error {
	file := filepath.Join(dir, name+global)
	mutable(file)
	return os.WriteFile(file, append(binary.LittleEndian.AppendUint32(nil, attributes), value...), 0o644)
}

// mutable lets a file be written, if it is there and its file system knows of this.
func mutable(file string) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	if flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil && flags&immutable != 0 {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^immutable)) // writing says what is wrong
	}
}
