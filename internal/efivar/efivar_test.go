//go:build linux

package efivar

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var disk = Disk{Number: 1, First: 2048, Size: 98304, ID: [16]byte{0x28, 0x73, 0x2a, 0xc1, 15: 0x3b}, Loader: `\EFI\BOOT\BOOTX64.EFI`}

// The bytes of an option, field by field, as the specification has them.
func TestOption(t *testing.T) {
	want := strings.Join([]string{
		"01000000",             // attributes: active
		"5e00",                 // bytes of the device path
		"6400690073006b000000", // "disk"
		"04012a00",             // hard drive, 42 bytes
		"01000000", "0008000000000000", "0080010000000000", "28732ac100000000000000000000003b", "0202",
		"04043000", // file, 48 bytes
		"5c004500460049005c0042004f004f0054005c0042004f004f0054005800360034002e004500460049000000",
		"7fff0400",
	}, "")
	if got := hex.EncodeToString(disk.option("disk")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBootFirst(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, b ...byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+global), append([]byte{7, 0, 0, 0}, b...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("Boot0000", 1)
	put("Boot0001", 2)
	put("BootOrder", 1, 0, 0, 0)
	put("BootCurrent", 0, 0)
	for range 2 { // the second time finds what the first one wrote
		if err := BootFirst(dir, "disk", disk); err != nil {
			t.Fatal(err)
		}
		order, err := read(dir, "BootOrder")
		if err != nil || !slices.Equal(order, []byte{2, 0, 1, 0, 0, 0}) {
			t.Errorf("order %v, %v", order, err)
		}
		if b, err := read(dir, "Boot0002"); err != nil || !bytes.Equal(b, disk.option("disk")) {
			t.Errorf("option %x, %v", b, err)
		}
		if all, _ := filepath.Glob(filepath.Join(dir, "*")); len(all) != 5 {
			t.Errorf("variables %v", all)
		}
	}
}

// Firmware that was reset has no order yet.
func TestNoOrder(t *testing.T) {
	dir := t.TempDir()
	if err := BootFirst(dir, "disk", disk); err != nil {
		t.Fatal(err)
	}
	if order, err := read(dir, "BootOrder"); err != nil || !slices.Equal(order, []byte{0, 0}) {
		t.Errorf("order %v, %v", order, err)
	}
}

func TestNoFirmware(t *testing.T) {
	if err := BootFirst(filepath.Join(t.TempDir(), "none"), "disk", disk); err == nil {
		t.Error("no error")
	}
}
