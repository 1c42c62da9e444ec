//go:build lab

package lab

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// switchLimit is more than twice what it takes beside much other work on two cores
// (measured: 174 s, 66 of which are waited for).
const switchLimit = 400 * time.Second

// switchRack has a management switch with VLANs. UNTAGGED and TAGGED are of the agent's
// and of BMCs' ports.
const switchRack = `apiVersion: rackreach/v1
kind: Rack
name: r7
number: 7
agent: {cable: "mgmt-1:rr1"}
networks: {management: {cidr: 192.168.107.0/24}, data: {cidr: 10.0.7.0/24}}
vlans:
  - {name: provisioning, id: 100, untagged: [%suplink, bmc, management, server], tagged: [%strunk]}
  - {name: tenants, id: 200, tagged: [uplink, server]}
devices:
  - name: mgmt-1
    role: management-switch
    platform: linux-switch
    address: 192.168.107.1
    bmc: {protocol: ipmi, address: 192.168.107.100, credentials: "env:RACK_BMC"}
    access: {credentials: "env:RACK_SSH"}
  - {name: tor-1, role: tor-switch, platform: sim-tor, address: 192.168.107.2, management: "mgmt-1:rr30", data: "mgmt-1:rr4"}
  - {name: tor-2, role: tor-switch, platform: sim-tor, address: 192.168.107.3, management: "mgmt-1:6", data: "mgmt-1:rr5"}
  - {name: server-01, role: server, platform: sim-server, address: 10.0.7.11, bmc: {protocol: ipmi, address: 192.168.107.101, credentials: "env:RACK_BMC"}, management: "mgmt-1:rr2", data: "tor-1:1"}
`

// switchScript is what the management switch is given by its platform.
func switchScript(t *testing.T, untagged, tagged string) string {
	t.Helper()
	platforms := platform.All()
	r, err := rackfile.Parse("switch.yaml", fmt.Appendf(nil, switchRack, untagged, tagged), os.ReadFile, platforms)
	if err != nil {
		t.Fatal(err)
	}
	v, err := config.New(r, "mgmt-1", config.Life{Run: "RUN", Ticket: "r7/mgmt-1/1", Image: rack.Image{Digest: "sha256:" + strings.Repeat("0", 64)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range platforms["linux-switch"].Steps {
		if s.Action == rack.PushConfig {
			text, err := config.Render(s.SSH.Files[0].Name, s.SSH.Files[0].Template, v)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	t.Fatal("linux-switch pushes nothing")
	return ""
}

// TestSwitchVLANs: a kernel as a distribution has it keeps VLANs apart as the script of
// linux-switch says: what the agent must reach it reaches, tagged frames go where the
// rack file says, a VLAN in which the agent is not is taken back by itself.
func TestSwitchVLANs(t *testing.T) {
	const system = "/init"
	init, err := os.ReadFile("testdata/switch-init.sh")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{system: init, "/good": []byte(switchScript(t, "agent, ", "")), "/bad": []byte(switchScript(t, "", "agent, "))}
	for _, program := range []string{"/bin/busybox", "/usr/sbin/ip", "/usr/sbin/bridge"} {
		addProgram(t, files, program)
	}
	kernels, err := filepath.Glob(filepath.Join(kernelRoot(), "boot/vmlinuz-*-cloud-amd64"))
	if err != nil || len(kernels) == 0 {
		t.Fatal(errors.Join(err, errors.New("the lab needs a kernel: install Debian's package linux-image-cloud-amd64, or name a folder where it is unpacked: LAB_KERNEL")))
	}
	kernel := kernels[len(kernels)-1]
	for _, name := range []string{"802/stp.ko", "llc/llc.ko", "802/garp.ko", "802/mrp.ko", "8021q/8021q.ko", "bridge/bridge.ko"} {
		addModule(t, files, kernel, "net/"+name)
	}
	addModule(t, files, kernel, "drivers/net/veth.ko")
	dir := folder(t)
	console, initrd := filepath.Join(dir, "console"), filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, archive(t, files), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &machine{console: console}
	cmd := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "qemu64", "-smp", "1", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none",
		"-M", "pc,graphics=off", "-no-reboot", "-serial", "file:"+console, "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	await(t, switchLimit, "the machine is through", func() bool { return strings.Contains(m.text(), "\nend\n") })
	text := m.text()
	if n := strings.Count(text, "\nseen: "); n != 17 || strings.Contains(text, "NOT SEEN") {
		t.Errorf("%d things were seen:\n%s", n, text)
	}
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// addProgram adds a program with the libraries that it needs.
func addProgram(t *testing.T, files map[string][]byte, program string) {
	t.Helper()
	out, err := exec.Command("ldd", program).Output()
	if err != nil && !strings.Contains(string(out), "statically linked") {
		out = nil // it is static
	}
	names := []string{program}
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		names = append(names, m[1])
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatalf("the lab needs %s: install Debian's packages busybox and iproute2: %v", name, err)
		}
		files[name] = b
	}
}

func addModule(t *testing.T, files map[string][]byte, kernel, name string) {
	t.Helper()
	version := filepath.Base(kernel)[len("vmlinuz-"):]
	b, err := os.ReadFile(filepath.Join(kernelRoot(), "lib/modules", version, "kernel", name))
	if err != nil {
		t.Fatal(err)
	}
	files["/modules/"+filepath.Base(name)] = b
}

// archive is an initramfs of files, all of which can be run.
func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := cpio.NewWriter(z)
	made := map[string]bool{}
	var folders func(dir string)
	folders = func(dir string) {
		if dir == "/" || made[dir] {
			return
		}
		folders(filepath.Dir(dir))
		made[dir] = true
		if err := w.WriteHeader(&cpio.Header{Name: dir[1:], Mode: cpio.TypeDir | 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range files {
		folders(filepath.Dir(name))
		err := w.WriteHeader(&cpio.Header{Name: name[1:], Mode: cpio.TypeReg | 0o755, Size: int64(len(b))})
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
