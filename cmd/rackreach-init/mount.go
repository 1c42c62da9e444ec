//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mount mounts the kernel's own file systems, and lets it reboot after a panic.
func (m *machine) mount() error {
	for _, x := range []struct {
		kind, at string
		flags    uintptr
	}{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", unix.MS_NOSUID},
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := os.MkdirAll(x.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(x.kind, x.at, x.kind, x.flags, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", x.at, err)
		}
	}
	if f, err := os.OpenFile("/dev/console", os.O_WRONLY|unix.O_NOCTTY, 0); err == nil {
		m.console = f
	}
	return os.WriteFile("/proc/sys/kernel/panic", []byte("30"), 0o644)
}
