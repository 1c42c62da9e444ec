//go:build lab

package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// A BMC is OpenIPMI's simulator, whose chassis is a machine here: for every question and
// command about power and boot device it starts a program, which is this one, and asks the
// process of the test.

// chassisEnv holds the socket at which a machine is asked.
const chassisEnv = "RACKREACH_LAB_CHASSIS"

// askChassis is the program: it hands its words to the machine, and prints the answer.
func askChassis(socket string, words []string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, strings.Join(words, " ")); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	answer, bad := strings.CutPrefix(string(b), "bad: ")
	if bad {
		return errors.New(answer)
	}
	fmt.Print(answer)
	return nil
}

// chassis answers for a machine until the test ends.
func (m *node) chassis(socket string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	m.t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, m.command(strings.Fields(line)))
			_ = c.Close()
		}
	}()
}

// command does what the BMC wants: "get power boot", "set boot pxe power 1".
func (m *node) command(words []string) string {
	if len(words) == 0 {
		return "bad: nothing"
	}
	var out strings.Builder
	switch op, rest := words[0], words[1:]; op {
	case "get":
		for _, w := range rest {
			switch w {
			case "power":
				fmt.Fprintf(&out, "power:%d\n", map[bool]int{true: 1}[m.isOn()])
			case "boot":
				fmt.Fprintf(&out, "boot:%s\n", m.nextBoot())
			default:
				return "bad: " + w
			}
		}
	case "set":
		for ; len(rest) > 1; rest = rest[2:] {
			m.said("BMC: set " + rest[0] + " " + rest[1])
			switch rest[0] {
			case "power":
				m.power(rest[1] == "1")
			case "reset":
				m.reset()
			case "boot":
				m.setBoot(rest[1])
			case "shutdown": // no system here obeys it: as a host that hangs
			case "identify":
				rest = append(rest, "")[1:]
			default:
				return "bad: " + rest[0]
			}
		}
	default:
		return "bad: " + op
	}
	return out.String()
}

// bmcUser and bmcPassword are those of all BMCs.
const (
	bmcUser     = "admin"
	bmcPassword = "secret"
)

// bmc starts the BMC of a machine on a host, which has the address.
func (m *node) bmc(h *nstest.Host, address string) *exec.Cmd {
	m.t.Helper()
	dir := filepath.Join(m.dir, "bmc")
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	socket := filepath.Join(dir, "chassis")
	m.chassis(socket)
	lan := fmt.Sprintf(`name "%s"
set_working_mc 0x20
  startlan 1
    addr %s 623
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid %s
  endlan
  chassis_control "env %s=%s %s"
  startnow false
  user 1 true "" "none" user 10 none md2 md5 straight
  user 2 true "%s" "%s" admin 10 none md2 md5 straight
`, m.name, address, strings.ReplaceAll(m.uuid, "-", ""), chassisEnv, socket, self, bmcUser, bmcPassword)
	const emu = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nsensor_add 0x20 0 0 35 0x6f event-only\nmc_enable 0x20\n"
	for name, text := range map[string]string{"lan.conf": lan, "emu": emu} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	cmd := exec.Command("ipmi_sim", "-c", filepath.Join(dir, "lan.conf"), "-f", filepath.Join(dir, "emu"), "-s", filepath.Join(dir, "state"), "-n")
	out := &said{}
	cmd.Stdout, cmd.Stderr = out, out
	h.Start(cmd)
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("the BMC of %s said:\n%s", m.name, out)
		}
	})
	return cmd
}

// node is a machine of the rack: what stands in one of its slots.
type node struct {
	t    *testing.T
	hall *nstest.Host // where QEMU runs: a host without any network
	name string
	dir  string // its own folder
	pcap string // folder of the recordings
	uuid string
	nics []port
	disk string
	firm firmware
	mem  string
	cpu  string
	mac  string // of its ports, but for the last byte
	// What the machine's firmware says of it.
	sku, product, serial string
	note                 func(who, what string)

	silent int // its network cards start nothing until its power was switched on oftener than this

	life  chan struct{} // a token: who has it may change what is below
	on    bool
	boot  string // of the next start: "pxe", or from the disk
	cmd   *exec.Cmd
	runs  int           // starts of the machine
	ons   int           // how often its power was switched on
	ended chan struct{} // of the run loop; nil: none
}

// port is a network card, and its cable.
type port struct {
	mac        string
	name       string // of its recording
	own, other string // sockets
	boots      bool   // firmware may boot from it
}

func (m *node) said(what string) { m.note(m.name, what) }

func (m *node) locked(f func()) {
	m.life <- struct{}{}
	defer func() { <-m.life }()
	f()
}

func (m *node) isOn() (on bool) { m.locked(func() { on = m.on }); return on }

func (m *node) nextBoot() (boot string) {
	m.locked(func() { boot = m.boot })
	if boot == "" {
		boot = "none"
	}
	return boot
}

func (m *node) setBoot(to string) { m.locked(func() { m.boot = to }) }

// starts is how often the machine was started or reset.
func (m *node) starts() (n int) { m.locked(func() { n = m.runs }); return n }

// power switches it on or off. Off is at once.
func (m *node) power(on bool) {
	var ended chan struct{}
	m.locked(func() {
		switch {
		case on && !m.on:
			m.on, m.ended = true, make(chan struct{})
			m.ons++
			go m.run(m.ended)
		case !on && m.on:
			m.on = false
			ended = m.ended
			if m.cmd != nil {
				_ = m.cmd.Process.Kill()
			}
		}
	})
	if ended != nil {
		<-ended
	}
}

// reset is the button.
func (m *node) reset() {
	m.locked(func() {
		if m.cmd != nil {
			_ = m.cmd.Process.Kill()
		}
	})
}

// run runs the machine while it is on: QEMU ends at every reset, and is started anew,
// with the boot device of the moment.
func (m *node) run(ended chan struct{}) {
	defer close(ended)
	for {
		var err error
		m.locked(func() {
			if !m.on {
				err = errors.New("it is off")
				return
			}
			m.runs++
			boot := m.boot
			m.boot = ""
			m.cmd = exec.Command("qemu-system-x86_64", m.args(boot == "pxe")...)
			m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			log, e := os.OpenFile(filepath.Join(m.dir, "qemu"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if e != nil {
				err = e
				return
			}
			defer log.Close()
			m.cmd.Stdout, m.cmd.Stderr = log, log
			m.hall.Do(func() { err = m.cmd.Start() })
			m.note(m.name, fmt.Sprintf("starts, boot device %q", boot))
		})
		if err != nil {
			return
		}
		_ = m.cmd.Wait()
		m.locked(func() { m.cmd = nil })
		time.Sleep(50 * time.Millisecond) // one that cannot be started at all
	}
}

// args are those of QEMU. network: the first boot device is the network.
func (m *node) args(network bool) []string {
	args := []string{
		"-accel", "tcg,thread=single", "-cpu", m.cpu, "-smp", "1", "-m", m.mem, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-name", m.name, "-uuid", m.uuid, "-smbios", "type=1,manufacturer=Lab,product=" + m.product + ",serial=SN-" + m.serial + ",sku=" + m.sku,
		"-chardev", "file,id=s0,append=on,path=" + m.console(), "-serial", "chardev:s0", "-device", "virtio-rng-pci",
	}
	disk, nic := 1, 2
	if network {
		disk, nic = 2, 1
	}
	rom := ""
	if m.firm == bios {
		args = append(args, "-M", "pc,graphics=off")
		if m.ons > m.silent {
			args = append(args, "-boot", "reboot-timeout=3000") // as a server does that finds nothing to boot
		}
	} else {
		rom = ",romfile="
		vars := filepath.Join(m.dir, "vars.fd")
		if _, err := os.Stat(vars); err != nil {
			b, err := os.ReadFile(ovmfVars)
			if err == nil {
				err = os.WriteFile(vars, b, 0o600)
			}
			if err != nil {
				m.note(m.name, err.Error())
			}
		}
		args = append(args, "-M", "q35", "-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+ovmfCode, "-drive", "if=pflash,format=raw,unit=1,file="+vars)
		if m.firm == uefiHTTP {
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		}
	}
	for i, p := range m.nics {
		id := fmt.Sprintf("n%d", i)
		card := fmt.Sprintf("virtio-net-pci,netdev=%s,mac=%s", id, p.mac)
		if p.boots && m.ons > m.silent {
			card += fmt.Sprintf(",bootindex=%d", nic) + rom
		} else {
			card += ",romfile="
		}
		args = append(args, "-netdev", fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", id, p.own, p.other), "-device", card,
			"-object", fmt.Sprintf("filter-dump,id=d%d,netdev=%s,maxlen=%d,file=%s", i, id, snapLength, m.recording(p, m.runs)))
	}
	return append(args, "-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+m.disk, "-device", fmt.Sprintf("virtio-blk-pci,drive=disk,serial=DISK-%s,bootindex=%d", m.name, disk))
}

func (m *node) console() string { return filepath.Join(m.dir, "console") }

// text is the console so far, without what moves the cursor.
func (m *node) text() string { return (&machine{console: m.console()}).text() }
