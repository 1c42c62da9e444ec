package initramfs

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// parts are a kernel, its modules and a program, in a new folder.
func parts(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	kernel := make([]byte, 0x1000)
	copy(kernel[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(kernel[0x20e:], 0x400)
	copy(kernel[0x600:], "6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)\x00")
	var gz, zst, xzip bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	x, err := xz.NewWriter(&xzip)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z, x} {
		if _, err := w.Write([]byte("module")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const modules = "lib/modules/6.1.0-56-cloud-amd64/"
	for name, data := range map[string]string{
		"vmlinuz": string(kernel), "init": "\x7fELF static",
		modules + "modules.dep": "kernel/drivers/virtio/virtio.ko.gz:\nkernel/lib/crc.ko.zst:\nkernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko.gz kernel/lib/crc.ko.zst\n" +
			"kernel/sound/beep.ko:\nkernel/fs/fat/fat.ko.xz:\n",
		modules + "modules.alias":                             "alias virtio:d00000002v* virtio_blk\nalias pci:beep beep\n",
		modules + "modules.builtin":                           "kernel/fs/ext4/ext4.ko\n",
		modules + "kernel/drivers/virtio/virtio.ko.gz":        gz.String(),
		modules + "kernel/lib/crc.ko.zst":                     zst.String(),
		modules + "kernel/drivers/block/virtio_blk.ko":        "block module",
		modules + "kernel/fs/fat/fat.ko.xz":                   xzip.String(),
		modules + "kernel/sound/beep.ko":                      "noise",
		modules + "kernel/drivers/block/nobody-asks-for-it.x": "",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Kernel: filepath.Join(dir, "vmlinuz"), Modules: filepath.Join(dir, modules), Init: filepath.Join(dir, "init")}
}

func build(t *testing.T, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	built, err := Build(t.Context(), &b, o)
	if err != nil {
		t.Fatal(err)
	}
	if built.Version != "6.1.0-56-cloud-amd64" || built.Modules != 4 {
		t.Errorf("%+v", built)
	}
	return b.Bytes()
}

// The same parts make the same bytes, in another folder, at another time.
func TestReproducible(t *testing.T) {
	one, two := parts(t), parts(t)
	err := filepath.Walk(filepath.Dir(two.Init), func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)), os.Chmod(path, 0o755))
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(build(t, one), build(t, two)) {
		t.Error("two builds differ")
	}
}

// What is in it: modules with what they need, unpacked, folders before what is in them.
func TestContents(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(build(t, parts(t))))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("gzip says %v %q", z.ModTime, z.Name)
	}
	r := cpio.NewReader(z)
	var names []string
	text := map[string]string{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Guid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%+v", h)
		}
		if dir := filepath.Dir(h.Name); dir != "." && !slices.Contains(names, dir) {
			t.Errorf("%s comes before its folder", h.Name)
		}
		names = append(names, h.Name)
		text[h.Name] = string(b)
	}
	const at = "lib/modules/6.1.0-56-cloud-amd64/"
	for name, want := range map[string]string{
		"init": "\x7fELF static", at + "kernel/drivers/virtio/virtio.ko": "module", at + "kernel/lib/crc.ko": "module", at + "kernel/drivers/block/virtio_blk.ko": "block module",
		at + "modules.dep":          "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/lib/crc.ko\nkernel/drivers/virtio/virtio.ko:\nkernel/fs/fat/fat.ko:\nkernel/lib/crc.ko:\n",
		at + "kernel/fs/fat/fat.ko": "module",
		at + "modules.builtin":      "kernel/fs/ext4/ext4.ko\n",
		at + "modules.alias":        "alias virtio:d00000002v* virtio_blk\n",
	} {
		if text[name] != want {
			t.Errorf("%s holds %q, want %q", name, text[name], want)
		}
	}
	if slices.Contains(names, at+"kernel/sound/beep.ko") || !slices.Contains(names, "proc") {
		t.Errorf("%v", names)
	}
}

func TestRefuses(t *testing.T) {
	for says, spoil := range map[string]func(o *Options) error{
		"needs libraries": func(o *Options) error {
			return os.WriteFile(o.Init, []byte("\x7fELF /lib64/ld-linux-x86-64.so.2"), 0o600)
		},
		"no program for Linux": func(o *Options) error { return os.WriteFile(o.Init, []byte("#!/bin/sh"), 0o600) },
		"needs kernel/gone.ko, which modules.dep has not": func(o *Options) error {
			return os.WriteFile(filepath.Join(o.Modules, "modules.dep"), []byte("kernel/drivers/virtio/virtio.ko.gz: kernel/gone.ko\n"), 0o600)
		},
		"run depmod":           func(o *Options) error { return os.Remove(filepath.Join(o.Modules, "modules.dep")) },
		"is no Linux kernel":   func(o *Options) error { return os.WriteFile(o.Kernel, []byte("text"), 0o600) },
		"modules are those of": func(o *Options) error { o.Modules = filepath.Dir(o.Modules); return nil },
		"no such file":         func(o *Options) error { o.Kernel += "x"; return nil },
		"virtio_blk.ko: no such": func(o *Options) error {
			return os.Remove(filepath.Join(o.Modules, "kernel/drivers/block/virtio_blk.ko"))
		},
		"invalid header": func(o *Options) error {
			return os.WriteFile(filepath.Join(o.Modules, "kernel/drivers/virtio/virtio.ko.gz"), []byte("0123456789"), 0o600)
		},
	} {
		o := parts(t)
		if err := spoil(&o); err != nil {
			t.Fatal(err)
		}
		if _, err := Build(t.Context(), io.Discard, o); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
