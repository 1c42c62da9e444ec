// Command phonehome is /init of the system on the lab's disk image: it says on the
// console that the disk runs, and what it finds on it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/kmod"
)

func main() {
	fmt.Println("phonehome: the disk's own kernel runs")
	if err := run(); err != nil {
		fmt.Println("phonehome: failed:", err)
	}
	for {
		time.Sleep(time.Hour)
	}
}

func run() error {
	for kind, at := range map[string]string{"sysfs": "/sys", "devtmpfs": "/dev"} {
		if err := unix.Mount(kind, at, kind, 0, ""); err != nil {
			return err
		}
	}
	if err := load("virtio_pci", "virtio_blk"); err != nil {
		return err
	}
	const part = "vda2"
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat("/dev/" + part); err == nil {
			break
		} else if time.Since(began) > 20*time.Second {
			return err
		}
	}
	if err := unix.Mount("/dev/"+part, "/mnt", "ext4", unix.MS_RDONLY, ""); err != nil {
		return err
	}
	name, err := os.ReadFile("/mnt/etc/hostname")
	if err != nil {
		return err
	}
	sectors, err := os.ReadFile("/sys/class/block/" + part + "/size")
	if err != nil {
		return err
	}
	fmt.Printf("phonehome: this is %s, partition 2 has %s sectors\n", strings.TrimSpace(string(name)), strings.TrimSpace(string(sectors)))
	return nil
}

// load loads modules and what they need.
func load(names ...string) error {
	dirs, err := filepath.Glob("/lib/modules/*")
	if err != nil || len(dirs) != 1 {
		return fmt.Errorf("modules in %v: %w", dirs, err)
	}
	dep, err := os.Open(filepath.Join(dirs[0], "modules.dep"))
	if err != nil {
		return err
	}
	tables, err := kmod.Read(dep, strings.NewReader(""))
	if err != nil {
		return err
	}
	files, _ := tables.Order(names...)
	for _, file := range files {
		f, err := os.Open(filepath.Join(dirs[0], file))
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}
	return nil
}
