//go:build lab

package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"

	"github.com/rackreach/rackreach/internal/kmod"
)

// The rack's machines run one small Linux: Debian's kernel, busybox, iproute2, dropbear
// and a DHCP relay, as Debian builds them, in an initramfs beside a partition that is
// kept. A word on the kernel's command line says what a machine is: a switch's operating
// system (nos), ONIE (onie), a server's (os).

// rackStock is what the rack's machines are made of.
type rackStock struct {
	rackreach string // the product's program
	onie      string // disk of a switch as its maker delivers it
	nos, os   string // raw images
	bundle    string // signed
	trust     string // public key

	held *os.File // lock on all of these, until this process ends
}

// Artifacts of the bundle.
const (
	nosImage     = "lab-nos"      // disk image of the management switch
	nosInstaller = "lab-nos-onie" // of ToR switches
	osImage      = "lab-os"       // of servers
)

var rackOnce = sync.OnceValues(makeRackStock)

func newRackStock(t *testing.T) rackStock {
	t.Helper()
	for _, n := range []struct{ file, debian string }{
		{"/usr/bin/mcopy", "mtools"}, {"/usr/bin/syslinux", "syslinux"}, {gptMBR, "syslinux-common"}, {systemdBoot, "systemd-boot-efi"},
		{"/usr/sbin/sfdisk", "fdisk"}, {"/usr/sbin/mkfs.ext4", "e2fsprogs"}, {"/usr/sbin/depmod", "kmod"}, {"/usr/bin/ipmi_sim", "openipmi"},
		{"/usr/sbin/dropbear", "dropbear-bin"}, {"/usr/bin/busybox", "busybox"}, {"/usr/sbin/dhcrelay", "isc-dhcp-relay"}, {"/usr/sbin/tc", "iproute2"}, {"/usr/sbin/lldpd", "lldpd"},
	} {
		if _, err := os.Stat(n.file); err != nil {
			t.Fatalf("the lab needs %s: install Debian's package %s", n.file, n.debian)
		}
	}
	s, err := rackOnce()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// command is the product's program, in a folder where somebody works, with his files in
// site.
func (s rackStock) command(dir, state string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.rackreach, args...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "RACKREACH_STATE="+state, "RACKREACH_PLATFORMS="+filepath.Join(dir, "site/platforms"),
		"RACK_BMC="+bmcUser+":"+bmcPassword, "RACK_SSH=root:"+rackPassword)
	cmd.Dir = filepath.Join(dir, "site")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// trusted lets a state directory trust who signed the bundle.
func (s rackStock) trusted(t *testing.T, state string) {
	t.Helper()
	key, err := os.ReadFile(s.trust)
	if err == nil {
		err = os.MkdirAll(filepath.Join(state, "trust"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(state, "trust/release.pub"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// programs of the root file system, with the libraries that they name.
var programs = []string{"/usr/bin/busybox", "/usr/sbin/ip", "/usr/sbin/bridge", "/usr/sbin/tc", "/usr/sbin/dropbear", "/usr/bin/dropbearkey", "/usr/sbin/dhcrelay"}

// switchPrograms are those of ToR and inter-rack switches besides. With their libraries
// they are larger than all others.
var switchPrograms = []string{"/usr/sbin/lldpd", "/usr/sbin/lldpcli"}

// wantedModules are those of the rack's machines.
var wantedModules = []string{"virtio_pci", "virtio_rng", "virtio_net", "virtio_blk", "bridge", "vfat", "nls_cp437", "nls_ascii", "sch_ingress", "cls_u32", "act_gact"}

// tree is a root file system.
type tree map[string]treeFile

type treeFile struct {
	mode cpio.FileMode
	data []byte
}

func (r tree) add(name string, mode cpio.FileMode, data []byte) {
	name = strings.TrimPrefix(name, "/")
	r[name] = treeFile{mode, data}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		r[dir] = treeFile{cpio.TypeDir | 0o755, nil}
	}
}

// copy adds a file of this machine at the same path, or at another.
func (r tree) copy(from, to string, mode cpio.FileMode) error {
	b, err := os.ReadFile(from)
	if err == nil {
		r.add(to, cpio.TypeReg|mode, b)
	}
	return err
}

// program adds a program and its libraries.
func (r tree) program(name string) error {
	if err := r.copy(name, name, 0o755); err != nil {
		return err
	}
	out, err := exec.Command("ldd", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ldd %s: %w: %s", name, err, out)
	}
	for line := range strings.Lines(string(out)) {
		for _, w := range strings.Fields(line) {
			if strings.HasPrefix(w, "/") {
				if err := r.copy(w, w, 0o755); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rootHash is of the password that access: of the rack file names; see rackPassword.
const (
	rackPassword = "lab-secret"
	rootHash     = "$6$rackreachlab$3qAY9M5WHqWXbplTGMx.azGUZMOBRNz6EWFf0OZhfYXvxfkR2qadFkDRlelp5upMmEtFWaTlW7g3qwdY1FQ6a1"
)

// makeRoot makes the root file system.
func makeRoot(modules string) (tree, error) {
	r := tree{}
	for _, p := range programs {
		if err := r.program(p); err != nil {
			return nil, err
		}
	}
	out, err := exec.Command("/usr/bin/busybox", "--list").Output()
	if err != nil {
		return nil, err
	}
	r.add("bin/busybox", cpio.TypeSymlink|0o777, []byte("/usr/bin/busybox"))
	for _, applet := range strings.Fields(string(out)) {
		if _, has := r["usr/sbin/"+applet]; !has && applet != "busybox" {
			r.add("bin/"+applet, cpio.TypeSymlink|0o777, []byte("/usr/bin/busybox"))
		}
	}
	const from = "testdata/rack/root/"
	err = errors.Join(r.copy(from+"init", "init", 0o755), r.copy(from+"udhcpc.sh", "etc/udhcpc.sh", 0o755), r.copy(from+"onie.sh", "etc/onie.sh", 0o644),
		r.copy(from+"onie-udhcpc.sh", "etc/onie-udhcpc.sh", 0o755), r.copy(from+"onie-select.sh", "etc/onie-select.sh", 0o755), r.copy(from+"passwd", "etc/passwd", 0o644))
	r.add("etc/shadow", cpio.TypeReg|0o600, []byte("root:"+rootHash+":19000:0:99999:7:::\n"))
	r.add("etc/hostname", cpio.TypeReg|0o644, nil)
	r.add("etc/group", cpio.TypeReg|0o644, []byte("root:x:0:\n_lldpd:x:110:\n"))
	for _, dir := range []string{"dev", "proc", "sys", "mnt", "run", "tmp", "root", "state", "etc/dropbear", "etc/rackreach", "var/lib/dhcp"} {
		r.add(dir, cpio.TypeDir|0o755, nil)
	}
	return r, errors.Join(err, r.modules(modules))
}

// modules adds the kernel's modules, and their order.
func (r tree) modules(dir string) error {
	dep, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return err
	}
	defer dep.Close()
	tables, err := kmod.Read(dep, strings.NewReader(""))
	if err != nil {
		return err
	}
	if builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin")); err == nil {
		if err := tables.ReadBuiltin(bytes.NewReader(builtin)); err != nil {
			return err
		}
	}
	files, missing := tables.Order(wantedModules...)
	if len(missing) > 0 {
		return fmt.Errorf("the kernel of %s has no %s", dir, strings.Join(missing, ", "))
	}
	var order strings.Builder
	for _, f := range files {
		fmt.Fprintln(&order, path.Base(f))
	}
	later, missing := tables.Order("kvm-amd") // loaded by who configures a hypervisor
	if len(missing) > 0 {
		return fmt.Errorf("the kernel of %s has no %s", dir, strings.Join(missing, ", "))
	}
	for _, f := range slices.Concat(files, later) {
		if err := r.copy(filepath.Join(dir, f), "lib/modules/"+path.Base(f), 0o644); err != nil {
			return err
		}
	}
	r.add("etc/modules", cpio.TypeReg|0o644, []byte(order.String()))
	return nil
}

// write writes it as an initramfs.
func (r tree) write(file string) error {
	names := make([]string, 0, len(r))
	for n := range r {
		names = append(names, n)
	}
	slices.Sort(names)
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		return err
	}
	c := cpio.NewWriter(z)
	for i, n := range names {
		f := r[n]
		if err := c.WriteHeader(&cpio.Header{Name: n, Mode: f.mode, Size: int64(len(f.data)), Inode: int64(i + 1), Links: 1, ModTime: time.Unix(0, 0)}); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
		if _, err := c.Write(f.data); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	if err := errors.Join(c.Close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// The layout of all disks: a partition that both kinds of firmware boot from, and one
// that keeps what was configured.
const (
	rackESP   = 80 * mib // of a switch: with ONIE and another system
	rackState = 16 * mib
	rackImage = 1*mib + rackESP + rackState + 3*mib
)

// kernelLine says what a machine is, and how its DHCP client names it.
func kernelLine(kind, class string) string {
	return "console=ttyS0 quiet panic=10 lab.kind=" + kind + " lab.class=" + class
}

// Vendor classes of the switches' systems, which discovery knows.
const (
	mgmtClass = "linux-switch"
	torClass  = "cumulus-linux"
)

func syslinuxConfig(kernel, root, kind, class string) string {
	return "DEFAULT lab\nPROMPT 0\nTIMEOUT 0\nSERIAL 0 115200\nLABEL lab\n LINUX /" + kernel + "\n INITRD /" + root + "\n APPEND " + kernelLine(kind, class) + "\n"
}

// makeRackDisk makes a disk of one kind.
func makeRackDisk(dir, kind, kernel, root string) (string, error) {
	write := func(name, text string) string {
		name = filepath.Join(dir, kind+"-"+name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			panic(err) // found by command
		}
		return name
	}
	disk := filepath.Join(dir, kind+".raw")
	script := fmt.Sprintf(`set -e
truncate -s %[1]d "$D"; /usr/sbin/sfdisk -q "$D" <"$LAYOUT"
mformat -i "$D@@1M" -T %[2]d -h 64 -s 32 -H 2048 -v LAB ::
syslinux --offset 1048576 -i "$D"
mmd -i "$D@@1M" ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries
mcopy -i "$D@@1M" "$KERNEL" ::/vmlinuz; mcopy -i "$D@@1M" "$SYSTEM" ::/root.img; mcopy -i "$D@@1M" "$SYSLINUX" ::/syslinux.cfg
mcopy -i "$D@@1M" %[3]s ::/EFI/BOOT/BOOTX64.EFI; mcopy -i "$D@@1M" "$LOADER" ::/loader/loader.conf; mcopy -i "$D@@1M" "$ENTRY" ::/loader/entries/lab.conf
dd if=%[4]s of="$D" bs=440 count=1 conv=notrunc status=none
/usr/sbin/mkfs.ext4 -q -E offset=%[5]d "$D" %[6]dk
`, rackImage, rackESP/512, systemdBoot, gptMBR, mib+rackESP, rackState/1024)
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "D="+disk, "KERNEL="+kernel, "SYSTEM="+root,
		"LAYOUT="+write("layout", fmt.Sprintf("label: gpt\nstart=2048, size=%d, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, attrs=LegacyBIOSBootable\nstart=%d, size=%d, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n",
			rackESP/512, (mib+rackESP)/512, rackState/512)),
		"SYSLINUX="+write("syslinux.cfg", syslinuxConfig("vmlinuz", "root.img", kind, mgmtClass)),
		"LOADER="+write("loader.conf", "timeout 0\ndefault lab.conf\n"),
		"ENTRY="+write("lab.conf", "title lab\nlinux /vmlinuz\ninitrd /root.img\noptions "+kernelLine(kind, mgmtClass)+"\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the disk of %s: %w: %s", kind, err, out)
	}
	return disk, nil
}

// makeNOSInstaller makes what ONIE executes: a script, and an archive behind it.
func makeNOSInstaller(file, kernel, root string) error {
	head, err := os.ReadFile("testdata/rack/nos-installer.sh")
	if err != nil {
		return err
	}
	b := bytes.NewBuffer(head)
	w := tar.NewWriter(b)
	add := func(name string, data []byte) {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}))
		_, e := w.Write(data)
		err = errors.Join(err, e)
	}
	k, err1 := os.ReadFile(kernel)
	i, err2 := os.ReadFile(root)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	add("nos.lin", k)
	add("nos.img", i)
	add("nos.cfg", []byte(syslinuxConfig("nos.lin", "nos.img", "nos", torClass)))
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// makeRackStock makes all of it, or finds it: what the same files were made into once is
// kept in the user's cache, by the digest of all that it is made of.
func makeRackStock() (s rackStock, err error) {
	if stockDir == "" {
		if stockDir, err = os.MkdirTemp("", fmt.Sprintf("rackreach-lab-%d-", os.Getpid())); err != nil {
			return s, err
		}
	}
	dir := filepath.Join(stockDir, "rack")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return s, err
	}
	kernel, _, modules, err := findKernel()
	if err != nil {
		return s, err
	}
	for name, pkg := range map[string]string{"rackreach": "../cmd/rackreach", "rackreach-init": "../cmd/rackreach-init", "kvm-guest": "./testdata/rack/guest"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-buildvcs=false", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return s, fmt.Errorf("build %s: %w: %s", name, err, out)
		}
	}
	root, err := makeRoot(modules)
	if err != nil {
		return s, err
	}
	ofSwitch := maps.Clone(root)
	for _, p := range switchPrograms {
		err = errors.Join(err, ofSwitch.program(p))
	}
	ofSwitch.add("usr/sbin/lldpctl", cpio.TypeSymlink|0o777, []byte("lldpcli"))
	err = errors.Join(err, ofSwitch.write(filepath.Join(dir, "switch.img")),
		root.copy(filepath.Join(dir, "kvm-guest"), "usr/bin/kvm-guest", 0o755), root.write(filepath.Join(dir, "root.img")))
	if err != nil {
		return s, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return s, err
	}
	digest, err := digestOf(kernel, filepath.Join(dir, "rackreach"), filepath.Join(dir, "rackreach-init"), filepath.Join(dir, "root.img"), filepath.Join(dir, "switch.img"), "testdata/rack/nos-installer.sh", "rack_stock_test.go", "/usr/bin/syslinux", gptMBR, systemdBoot)
	if err != nil {
		return s, err
	}
	kept, held, err := cached(filepath.Join(cache, "rackreach-lab"), digest, func(to string) error {
		if err := makeImages(dir, kernel, modules); err != nil {
			return err
		}
		return command("cp", "-r", "--sparse=always", dir, to)
	})
	if err != nil {
		return s, err
	}
	at := func(name string) string { return filepath.Join(kept, name) }
	return rackStock{rackreach: at("rackreach"), onie: at("onie.raw"), nos: at("nos.raw"), os: at("os.raw"), bundle: at("images"), trust: at("release.key.pub"), held: held}, nil
}

func digestOf(files ...string) (string, error) {
	h := sha256.New()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%d ", len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

// makeImages makes disks, installers and bundles, by the product's own program where it
// has one for that.
func makeImages(dir, kernel, modules string) (err error) {
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, kind := range []string{"onie", "nos", "os"} {
		if _, err := makeRackDisk(dir, kind, kernel, at("root.img")); err != nil {
			return err
		}
	}
	run := func(args ...string) error { return command(at("rackreach"), args...) }
	err = errors.Join(
		makeNOSInstaller(at("nos.bin"), kernel, at("switch.img")),
		run("bundle", "keygen", at("release.key")),
		run("bundle", "build-installer", "--kernel", kernel, "--modules", modules, "--init", at("rackreach-init"), "--output", at("installer")),
	)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`apiVersion: rackreach/v1
kind: Bundle
name: "2026.3"
artifacts:
  - {name: %s, kind: disk-image, file: nos.raw}
  - {name: %s, kind: nos-installer, file: nos.bin}
  - {name: %s, kind: disk-image, file: os.raw}
  - {name: installer-kernel, kind: kernel, file: installer/installer-kernel}
  - {name: installer-initramfs, kind: initramfs, file: installer/installer-initramfs}
`, nosImage, nosInstaller, osImage)
	if err := os.WriteFile(at("bundle.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	return errors.Join(run("bundle", "build", at("bundle.yaml"), at("images")), run("bundle", "sign", at("images"), "--key", at("release.key")))
}

// findKernel finds Debian's kernel for clouds, and its modules.
func findKernel() (kernel, version, modules string, err error) {
	kernels, err := filepath.Glob(filepath.Join(kernelRoot(), "boot/vmlinuz-*-cloud-amd64"))
	if err != nil || len(kernels) == 0 {
		return "", "", "", errors.Join(err, errors.New("the lab needs a kernel: install Debian's package linux-image-cloud-amd64, or name a folder where it is unpacked: LAB_KERNEL"))
	}
	kernel = kernels[len(kernels)-1]
	version = filepath.Base(kernel)[len("vmlinuz-"):]
	modules = filepath.Join(kernelRoot(), "lib/modules", version)
	if _, err := os.Stat(filepath.Join(modules, "modules.dep")); errors.Is(err, fs.ErrNotExist) { // unpacked, not installed
		return kernel, version, modules, command("/usr/sbin/depmod", "-b", kernelRoot(), version)
	}
	return kernel, version, modules, nil
}
