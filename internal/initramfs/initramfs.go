// Package initramfs builds the small root file system that a machine's kernel runs
// the installer from: /init, and the kernel's modules for disks, network and file
// systems.
//
// # Usage
//
// Build writes it. The same files make the same bytes, whenever and wherever that is
// done: names are sorted, times are zero, owners are root, and what is read is nothing
// but the kernel, its modules and /init.
//
// # What is in it
//
//	init                               the installer (cmd/rackreach-init)
//	lib/modules/VERSION/…              modules, unpacked, with what they need
//	lib/modules/VERSION/modules.dep    the tables, of these modules only
//	lib/modules/VERSION/modules.alias
//	dev proc sys mnt tmp etc           empty
//
// It is a cpio archive of the form newc in gzip, which every kernel reads
// (Documentation/driver-api/early-userspace/buffer-format.rst).
package initramfs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/rackreach/rackreach/internal/kmod"
)

// Bounds, in bytes.
const (
	maxFile = 64 << 20 // a module, unpacked, or /init
	maxAll  = 512 << 20
)

// Options are what an initramfs is made of.
type Options struct {
	Kernel  string // file
	Modules string // directory, as depmod left it: /lib/modules/VERSION
	Init    string // file: a static program
}

// Built says what is in it.
type Built struct {
	Version string // of the kernel
	Modules int
	Size    int64 // bytes, unpacked
}

// ErrInput says that what it is made of does not fit together. It is wrapped.
var ErrInput = errors.New("no installer can be made of this")

// folders and names of modules that an installer can need, below kernel/: what is
// between a machine and its disks, its network, its firmware.
var wanted = []string{
	"drivers/net/ethernet/", "drivers/net/virtio_net.", "drivers/net/net_failover.", "drivers/net/vmxnet3/", "drivers/net/hyperv/", "drivers/net/mdio", "drivers/net/phy/", "drivers/net/xen-netfront.",
	"drivers/block/virtio_blk.", "drivers/block/xen-blkfront.", "drivers/nvme/host/", "drivers/scsi/", "drivers/ata/", "drivers/message/fusion/", "drivers/mmc/", "drivers/virtio/", "drivers/hv/",
	"drivers/watchdog/", "drivers/firmware/", "drivers/char/ipmi/", "drivers/md/dm-mod.", "drivers/vmd", "drivers/pci/controller/vmd.",
	"fs/efivarfs/", "fs/ext4/", "fs/xfs/", "fs/btrfs/", "fs/fat/", "fs/nls/nls_cp437.", "fs/nls/nls_ascii.", "fs/nls/nls_iso8859-1.", "fs/nls/nls_utf8.",
	"net/packet/",
}

// Build writes the initramfs. Errors: ErrInput, wrapped; one of ctx, of w, or of a
// file.
func Build(ctx context.Context, w io.Writer, o Options) (Built, error) {
	version, err := kernelVersion(o.Kernel)
	if err != nil {
		return Built{}, err
	}
	if name := filepath.Base(filepath.Clean(o.Modules)); name != version {
		return Built{}, fmt.Errorf("%w: kernel %s is version %s, and the modules are those of %s: name the folder lib/modules/%s", ErrInput, o.Kernel, version, name, version)
	}
	tables, err := readTables(o.Modules)
	if err != nil {
		return Built{}, err
	}
	b := &builder{files: map[string]file{}, built: Built{Version: version}}
	if err := b.init(o.Init); err != nil {
		return Built{}, err
	}
	if err := b.modules(ctx, tables, o.Modules, "lib/modules/"+version); err != nil {
		return Built{}, err
	}
	for _, dir := range []string{"dev", "etc", "mnt", "proc", "sys", "tmp"} {
		b.files[dir] = file{mode: cpio.TypeDir | 0o755}
	}
	return b.built, b.write(ctx, w)
}

// kernelVersion reads it from a kernel for x86 (Documentation/arch/x86/boot.rst,
// kernel_version), or from the name of the file.
func kernelVersion(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInput, err)
	}
	defer f.Close()
	b := make([]byte, 128<<10)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("%w: %s: %w", ErrInput, name, err)
	}
	if b = b[:n]; n > 0x210 && string(b[0x202:0x206]) == "HdrS" {
		at := int(binary.LittleEndian.Uint16(b[0x20e:])) + 0x200
		if at < len(b) {
			text, _, _ := bytes.Cut(b[at:min(len(b), at+256)], []byte{0})
			version, _, _ := strings.Cut(string(text), " ")
			return version, nil
		}
	}
	if _, version, ok := strings.Cut(filepath.Base(name), "-"); ok {
		return version, nil
	}
	return "", fmt.Errorf("%w: %s is no Linux kernel: name the vmlinuz of a kernel package", ErrInput, name)
}

func readTables(dir string) (*kmod.Tables, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no modules.dep: run depmod (Debian's package kmod), or install the kernel's package", ErrInput, dir)
	}
	aliases, aliasErr := os.ReadFile(filepath.Join(dir, "modules.alias"))
	if err = errors.Join(err, aliasErr); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	t, err := kmod.Read(bytes.NewReader(dep), bytes.NewReader(aliases))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInput, dir, err)
	}
	if builtin, err := os.ReadFile(filepath.Join(dir, builtinTable)); err == nil {
		return t, t.ReadBuiltin(bytes.NewReader(builtin))
	}
	return t, nil
}

// file is one that goes in.
type file struct {
	mode cpio.FileMode
	data []byte
}

type builder struct {
	files map[string]file
	built Built
}

func (b *builder) add(name string, mode cpio.FileMode, data []byte) error {
	if b.built.Size += int64(len(data)); b.built.Size > maxAll {
		return fmt.Errorf("%w: it has more than %d bytes", ErrInput, maxAll)
	}
	b.files[name] = file{cpio.TypeReg | mode, data}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		b.files[dir] = file{mode: cpio.TypeDir | 0o755}
	}
	return nil
}

// init adds /init, which must be a program that needs no other file.
func (b *builder) init(name string) error {
	data, err := readFile(name)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return fmt.Errorf("%w: %s is no program for Linux", ErrInput, name)
	}
	if bytes.Contains(data[:min(len(data), 4096)], []byte("/lib64/ld-linux")) {
		return fmt.Errorf("%w: %s needs libraries: build it with CGO_ENABLED=0", ErrInput, name)
	}
	return b.add("init", 0o755, data)
}

func (b *builder) modules(ctx context.Context, t *kmod.Tables, dir, to string) error {
	var pick []string
	for _, f := range t.Files() {
		if in(strings.TrimPrefix(f, "kernel/")) {
			pick = append(pick, f)
		}
	}
	files, missing := t.Order(pick...)
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s needs %s, which modules.dep has not: run depmod (Debian's package kmod)", ErrInput, dir, missing[0])
	}
	var plain []string
	strip := strings.NewReplacer(".ko.gz", ".ko", ".ko.zst", ".ko", ".ko.xz", ".ko")
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := unpack(filepath.Join(dir, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		plain = append(plain, f)
		if err := b.add(path.Join(to, strip.Replace(f)), 0o644, data); err != nil {
			return err
		}
	}
	b.built.Modules = len(files)
	slices.Sort(plain)
	// With it, what the kernel has built in is not taken for missing.
	if builtin, err := readFile(filepath.Join(dir, builtinTable)); err == nil {
		if err := b.add(path.Join(to, builtinTable), 0o644, builtin); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(
		b.add(path.Join(to, "modules.dep"), 0o644, []byte(strip.Replace(t.DepsOf(plain)))),
		b.add(path.Join(to, "modules.alias"), 0o644, []byte(t.AliasesOf(plain))),
	)
}

// builtinTable is in the folder of modules, of kernels that say what they have built in.
const builtinTable = "modules.builtin"

func in(file string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return strings.HasPrefix(file, w) })
}

// unpack reads a module, which distributions keep compressed in their own ways.
func unpack(name string) ([]byte, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	switch path.Ext(name) {
	case ".ko":
		return data, nil
	case ".gz":
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInput, name, err)
		}
		return readAll(name, r)
	case ".xz":
		r, err := xz.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInput, name, err)
		}
		return readAll(name, r)
	case ".zst":
		r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFile))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInput, name, err)
		}
		defer r.Close()
		return readAll(name, r)
	}
	return nil, fmt.Errorf("%w: %s is compressed in a way that is not known here: unpack the modules, and run depmod", ErrInput, name)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	defer f.Close()
	return readAll(name, f)
}

func readAll(name string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInput, name, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrInput, name, maxFile)
	}
	return b, nil
}

// write writes all of it, sorted, so that folders come before what is in them.
func (b *builder) write(ctx context.Context, w io.Writer) error {
	names := make([]string, 0, len(b.files))
	for n := range b.files {
		names = append(names, n)
	}
	slices.Sort(names)
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	c := cpio.NewWriter(z)
	for i, n := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := b.files[n]
		h := &cpio.Header{Name: n, Mode: f.mode, Size: int64(len(f.data)), Inode: int64(i + 1), Links: 1, ModTime: time.Unix(0, 0)}
		if err := c.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s: %w", n, err)
		}
		if _, err := c.Write(f.data); err != nil {
			return fmt.Errorf("write %s: %w", n, err)
		}
	}
	return errors.Join(c.Close(), z.Close())
}
