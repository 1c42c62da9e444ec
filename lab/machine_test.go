//go:build lab

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/vishvananda/netlink"

	"github.com/rackreach/rackreach/internal/nstest"
)

// firmware is what a machine boots by.
type firmware string

const (
	bios     firmware = "bios"      // SeaBIOS and the iPXE ROM of QEMU's network card
	uefiPXE  firmware = "uefi-pxe"  // OVMF and its own network stack
	uefiHTTP firmware = "uefi-http" // the same, with PXE switched off
)

// solo is how long each takes alone on two cores (measured), from power-on to the
// whole image; limit is what it may take here.
var solo = map[firmware]time.Duration{bios: 6 * time.Second, uefiPXE: 20 * time.Second, uefiHTTP: 20 * time.Second}

func (f firmware) limit() time.Duration { return 4 * solo[f] }

// segment is one Ethernet segment with the agent on it.
type segment struct {
	*nstest.Host
	t   *testing.T
	dir string
}

const (
	bridge     = "br0"
	nic        = "rr0" // the agent's, cabled to the bridge
	agentIP    = "10.77.0.1"
	mirrorIP   = "10.77.0.2" // the agent's machine, too
	machineIP  = "10.77.0.11"
	machineMAC = "52:54:00:77:00:01"
)

func newSegment(t *testing.T) *segment {
	t.Helper()
	for _, n := range []struct{ file, debian string }{
		{"/usr/bin/qemu-system-x86_64", "qemu-system-x86"}, {"/usr/lib/ipxe/qemu/pxe-virtio.rom", "ipxe-qemu"}, {uefiImage, "ipxe"},
		{ovmfCode, "ovmf"}, {"/usr/bin/tcpdump", "tcpdump"},
	} {
		if _, err := os.Stat(n.file); err != nil {
			t.Fatalf("the lab needs %s: install Debian's package %s", n.file, n.debian)
		}
	}
	s := &segment{Host: nstest.New(t), t: t, dir: folder(t)}
	s.Cable(nic, s.Host, "rr1")
	s.Bridge(bridge, "rr1")
	s.Do(func() {
		if err := s.IPv6(nic, true); err != nil {
			t.Error(err)
		}
	})
	s.Address(nic, agentIP+"/16")
	s.Address(nic, mirrorIP+"/16")
	return s
}

// folder is a folder of this process, which the end of the test removes; those of
// test runs that were killed are removed first. Nothing else outlives a killed one:
// what it started ends with it.
func folder(t *testing.T) string {
	t.Helper()
	const name = "rackreach-lab-"
	old, err := filepath.Glob(filepath.Join(os.TempDir(), name+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), name), "-")
		if n, err := strconv.Atoi(pid); err == nil && !runs(n) {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", name, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runs reports whether there is such a process, and it has not ended: one that was
// killed and that nobody asks after is there for good.
func runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, ok := strings.Cut(string(b), ") ") // its name may hold anything
	return ok && !strings.HasPrefix(state, "Z")
}

// tap makes a port of the bridge that QEMU plugs into.
func (s *segment) tap(name string) {
	s.t.Helper()
	var err error
	s.Do(func() {
		err = netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TAP})
	})
	if err != nil {
		s.t.Fatalf("make tap %s: %v", name, err)
	}
	s.plug(name)
	s.Up(name, true)
}

// plug makes an interface a port of the bridge.
func (s *segment) plug(name string) {
	s.t.Helper()
	var err error
	s.Do(func() {
		var port, br netlink.Link
		if port, err = netlink.LinkByName(name); err == nil {
			if br, err = netlink.LinkByName(bridge); err == nil {
				err = netlink.LinkSetMaster(port, br)
			}
		}
	})
	if err != nil {
		s.t.Fatalf("plug %s into %s: %v", name, bridge, err)
	}
}

// record writes what is on the segment into a file, which goes into the folder
// LAB_PCAP at the end, if there is one.
func (s *segment) record(name string) (file string) {
	s.t.Helper()
	file = filepath.Join(s.dir, name+".pcap")
	s.t.Cleanup(func() {
		dir := os.Getenv("LAB_PCAP")
		if dir == "" {
			return
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".pcap"), b, 0o644)
		}
		if err != nil {
			s.t.Error(err)
		}
	})
	cmd := exec.Command("tcpdump", "-i", nic, "-U", "--immediate-mode", "-n", "-s", "0", "-Z", "root", "-w", file, "udp port 67 or udp port 68 or udp port 4011 or icmp6")
	said := &said{}
	cmd.Stderr = said
	s.Start(cmd)
	said.await(s.t, 10*time.Second, "listening on")
	return file
}

// advertised reports whether a recording has a router advertisement that came while
// the machine ran. Without one, iPXE asks for it, and waits for 13 s.
func advertised(t *testing.T, file string) bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	runs := false
	for {
		frame, _, err := r.ReadPacketData()
		if err != nil {
			return false // the end, or a packet that is not written yet
		}
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
		from, ok := p.LinkLayer().(*layers.Ethernet)
		if !ok {
			continue
		}
		runs = runs || from.SrcMAC.String() == machineMAC
		if runs && p.Layer(layers.LayerTypeICMPv6RouterAdvertisement) != nil {
			return true
		}
	}
}

const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// machine is one that was powered on.
type machine struct{ console string }

// powerOn starts a machine with so many MiB of memory that has nothing but a network
// card: no disk, and for UEFI nothing remembered.
func (s *segment) powerOn(f firmware, memory string) *machine {
	s.t.Helper()
	return s.powerOnWith(f, ",bootindex=1", "-m", memory)
}

// powerOnWith starts one that has more: arguments for its network card, and for QEMU.
func (s *segment) powerOnWith(f firmware, cardArgs string, more ...string) *machine {
	s.t.Helper()
	m := &machine{console: filepath.Join(s.dir, "console")}
	s.tap("tap0")
	card := "virtio-net-pci,netdev=n0,mac=" + machineMAC + cardArgs
	args := []string{
		"-accel", "tcg,thread=single", "-cpu", "qemu64", "-smp", "1", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none",
		"-uuid", "0bad77cd-0000-4000-8000-525400770001", "-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no", "-serial", "file:" + m.console,
	}
	switch f {
	case bios:
		args = append(args, "-M", "pc,graphics=off", "-device", card)
	default:
		vars := filepath.Join(s.dir, "vars.fd")
		b, err := os.ReadFile(ovmfVars)
		if err == nil {
			err = os.WriteFile(vars, b, 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		args = append(args, "-M", "q35", "-device", card+",romfile=", // without the ROM, OVMF uses its own stack
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+ovmfCode, "-drive", "if=pflash,format=raw,unit=1,file="+vars)
		if f == uefiHTTP { // as a board on which PXE is switched off in the setup
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		}
	}
	cmd := exec.Command("qemu-system-x86_64", append(args, more...)...) // of one that is given twice, the last counts
	trouble := &said{}
	cmd.Stderr = trouble
	s.Start(cmd)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("QEMU said: %s\nthe console:\n%s", trouble, m.text())
		}
	})
	return m
}

// text is the console so far, without what moves the cursor.
func (m *machine) text() string {
	b, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r <= '~' {
			return r
		}
		return -1
	}, string(b))
}

// tick is the time between two looks at what a process said.
const tick = 50 * time.Millisecond

// await waits until ok, and returns how long that took.
func await(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	late := time.NewTimer(limit)
	defer late.Stop()
	again := time.NewTicker(tick)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("within %s it did not come true that %s", limit, what)
		}
	}
	return time.Since(began)
}

func (s *said) await(t *testing.T, limit time.Duration, text string) time.Duration {
	t.Helper()
	return await(t, limit, fmt.Sprintf("somebody says %q", text), func() bool { return strings.Contains(s.String(), text) })
}
