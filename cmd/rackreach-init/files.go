//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/job"
)

// writeFiles writes the files of a job into the file systems of a disk that was just
// written, and that nobody else has open.
func (m *machine) writeFiles(ctx context.Context, disk string, files []job.File) error {
	if err := reread(disk); err != nil {
		return err
	}
	var numbers []int
	for _, f := range files {
		if !slices.Contains(numbers, f.Partition) {
			numbers = append(numbers, f.Partition)
		}
	}
	for _, n := range numbers {
		device := partition(disk, n)
		if err := appears(ctx, device); err != nil {
			return err
		}
		of := slices.DeleteFunc(slices.Clone(files), func(f job.File) bool { return f.Partition != n })
		if err := m.into(device, of); err != nil {
			return fmt.Errorf("partition %d: %w", n, err)
		}
	}
	return nil
}

// reread lets the kernel read the partition table anew.
func reread(disk string) error {
	f, err := os.OpenFile(disk, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0); err != nil {
		return fmt.Errorf("read the partition table of %s: %w", disk, err)
	}
	return nil
}

// partition is the device of one: /dev/sda1, /dev/nvme0n1p1.
func partition(disk string, n int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", disk, n)
	}
	return fmt.Sprintf("%s%d", disk, n)
}

// appears waits for a device.
func appears(ctx context.Context, device string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if _, err := os.Stat(device); err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not appear: does the image have this partition?", device)
		}
	}
}

// kinds are the file systems that files can be written into, by their marks.
var kinds = []struct {
	name, magic string
	at          int64
	modules     []string
}{
	{"ext4", "\x53\xef", 0x438, []string{"ext4"}},
	{"xfs", "XFSB", 0, []string{"xfs"}},
	{"btrfs", "_BHRfS_M", 0x10040, []string{"btrfs"}},
	{"vfat", "FAT", 54, []string{"vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"}},
	{"vfat", "FAT32", 82, []string{"vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"}},
}

// into mounts a file system and writes into it, within it: a link in the image leads
// nowhere else.
func (m *machine) into(device string, files []job.File) (err error) {
	kind, modules, err := kindOf(device)
	if err != nil {
		return err
	}
	m.modules.load(modules...)
	const at = "/mnt"
	if err := unix.Mount(device, at, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount %s as %s: %w", device, kind, err)
	}
	defer func() {
		if uerr := unix.Unmount(at, 0); uerr != nil {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", device, uerr))
		}
	}()
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, f := range files {
		if err := put(root, f); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return nil
}

// put writes one file, whole and on the medium. The folder at its top must be there: a
// file system without it (an EFI system partition, the top of a btrfs whose system is in
// a subvolume) is not the one that the file is read from, and nobody would miss it.
func put(root *os.Root, f job.File) error {
	name := strings.TrimPrefix(path.Clean(f.Path), "/")
	if top, _, deeper := strings.Cut(name, "/"); deeper {
		if st, err := root.Stat(top); err != nil || !st.IsDir() {
			return fmt.Errorf("it has no folder /%s, and so is not the root file system of what was installed: name another partition (of a btrfs, its default subvolume counts)", top)
		}
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	mode := os.FileMode(f.Mode)
	if mode == 0 {
		mode = 0o600
	}
	w, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = w.Chmod(mode)
	if err == nil {
		_, err = w.WriteString(f.Content)
	}
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

func kindOf(device string) (name string, modules []string, err error) {
	f, err := os.Open(device)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	for _, k := range kinds {
		b := make([]byte, len(k.magic))
		if _, err := f.ReadAt(b, k.at); err == nil && string(b) == k.magic {
			return k.name, k.modules, nil
		}
	}
	return "", nil, fmt.Errorf("%s has no file system that files can be written into (ext4, xfs, btrfs, FAT)", device)
}
