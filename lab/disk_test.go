//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/initramfs"
)

// stock is what all machines of the installer's tests share: made once.
type stock struct {
	kernel, installer string // files: what machines boot to be installed
	bundle            string // directory with the release that has the disk image
	image             string // its raw bytes
}

// Names in the bundle.
const (
	release   = "lab"
	diskImage = "tiny"
)

var stockOnce = sync.OnceValues(makeStock)

// newStock makes a kernel, an installer, and a bootable disk image, all of them by the
// product's own means where it has some. Its folder goes with the process's last test.
func newStock(t *testing.T) stock {
	t.Helper()
	for _, n := range []struct{ file, debian string }{
		{"/usr/bin/mcopy", "mtools"}, {"/usr/bin/syslinux", "syslinux"}, {gptMBR, "syslinux-common"}, {systemdBoot, "systemd-boot-efi"},
		{"/usr/sbin/sfdisk", "fdisk"}, {"/usr/sbin/mkfs.ext4", "e2fsprogs"}, {"/usr/sbin/depmod", "kmod"},
	} {
		if _, err := os.Stat(n.file); err != nil {
			t.Fatalf("the lab needs %s: install Debian's package %s", n.file, n.debian)
		}
	}
	s, err := stockOnce()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	gptMBR      = "/usr/lib/syslinux/mbr/gptmbr.bin"
	systemdBoot = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
)

// kernelRoot is where Debian's kernel was unpacked: the root of this machine, or a
// folder.
func kernelRoot() string {
	if dir := os.Getenv("LAB_KERNEL"); dir != "" {
		return dir
	}
	return "/"
}

// stockDir is removed by TestMain.
var stockDir string

func makeStock() (s stock, err error) {
	if stockDir, err = os.MkdirTemp("", fmt.Sprintf("rackreach-lab-%d-", os.Getpid())); err != nil {
		return s, err
	}
	kernel, _, modules, err := findKernel()
	if err != nil {
		return s, err
	}
	s.kernel = kernel
	system, err := pack("testdata/phonehome", s.kernel, modules)
	if err != nil {
		return s, err
	}
	if s.installer, err = pack("../cmd/rackreach-init", s.kernel, modules); err != nil {
		return s, err
	}
	s.image = filepath.Join(stockDir, "tiny.raw")
	if err := makeImage(s.image, s.kernel, system); err != nil {
		return s, err
	}
	s.bundle = filepath.Join(stockDir, "bundle")
	return s, makeBundle(s)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// pack builds a program and an initramfs whose /init it is.
func pack(program, kernel, modules string) (file string, err error) {
	name := filepath.Join(stockDir, filepath.Base(program))
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", name, "./"+program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", program, err, out)
	}
	f, err := os.Create(name + ".img")
	if err != nil {
		return "", err
	}
	_, err = initramfs.Build(context.Background(), f, initramfs.Options{Kernel: kernel, Modules: modules, Init: name})
	return f.Name(), errors.Join(err, f.Close())
}

// The image: a partition that both kinds of firmware boot from, and one with a file
// system that files are written into.
const (
	mib       = 1 << 20
	imageSize = 80 * mib
	espSize   = 64 * mib
	rootAt    = 1*mib + espSize
	rootSize  = 12 * mib
)

func makeImage(image, kernel, system string) error {
	options := "console=ttyS0 quiet panic=30"
	write := func(name, text string) (string, error) {
		name = filepath.Join(stockDir, name)
		return name, os.WriteFile(name, []byte(text), 0o644)
	}
	syslinux, err1 := write("syslinux.cfg", "DEFAULT lab\nPROMPT 0\nTIMEOUT 0\nSERIAL 0 115200\nLABEL lab\n LINUX /vmlinuz\n INITRD /initrd.img\n APPEND "+options+"\n")
	loader, err2 := write("loader.conf", "timeout 0\ndefault lab.conf\n")
	entry, err3 := write("lab.conf", "title lab\nlinux /vmlinuz\ninitrd /initrd.img\noptions "+options+"\n")
	// The attribute is "legacy BIOS bootable", which gptmbr.bin looks for.
	layout, err4 := write("layout", fmt.Sprintf("label: gpt\nstart=2048, size=%d, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, attrs=LegacyBIOSBootable\nstart=%d, size=%d, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n",
		espSize/512, rootAt/512, rootSize/512))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	script := fmt.Sprintf(`set -e
truncate -s %[1]d "$D"; /usr/sbin/sfdisk -q "$D" <"$LAYOUT"
mformat -i "$D@@1M" -T %[2]d -h 64 -s 32 -H 2048 -v LAB ::
syslinux --offset 1048576 -i "$D"
mmd -i "$D@@1M" ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries
mcopy -i "$D@@1M" "$KERNEL" ::/vmlinuz; mcopy -i "$D@@1M" "$SYSTEM" ::/initrd.img; mcopy -i "$D@@1M" "$SYSLINUX" ::/syslinux.cfg
mcopy -i "$D@@1M" %[3]s ::/EFI/BOOT/BOOTX64.EFI; mcopy -i "$D@@1M" "$LOADER" ::/loader/loader.conf; mcopy -i "$D@@1M" "$ENTRY" ::/loader/entries/lab.conf
dd if=%[4]s of="$D" bs=440 count=1 conv=notrunc status=none
mkdir -p "$ROOT/etc"
/usr/sbin/mkfs.ext4 -q -d "$ROOT" -E offset=%[5]d "$D" %[6]dk
`, imageSize, espSize/512, systemdBoot, gptMBR, rootAt, rootSize/1024)
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "D="+image, "LAYOUT="+layout, "KERNEL="+kernel, "SYSTEM="+system, "SYSLINUX="+syslinux, "LOADER="+loader, "ENTRY="+entry, "ROOT="+filepath.Join(stockDir, "root"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the disk image: %w: %s", err, out)
	}
	return nil
}

func makeBundle(s stock) error {
	ctx := context.Background()
	l, err := bundle.Init(ctx, s.bundle)
	if err != nil {
		return err
	}
	added, err := l.Add(ctx, bundle.Input{Path: s.image, Name: diskImage, Kind: bundle.DiskImage, FrameSize: 4 * mib},
		bundle.Input{Path: s.kernel, Name: bundle.InstallerKernel, Kind: bundle.Kernel}, bundle.Input{Path: s.installer, Name: bundle.InstallerInitramfs, Kind: bundle.Initramfs})
	if err == nil {
		_, err = l.SetRelease(ctx, (&bundle.Release{Name: release}).With(added...))
	}
	return errors.Join(err, l.Close())
}
