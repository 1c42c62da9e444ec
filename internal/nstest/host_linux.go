package nstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Needs fails the test when a program is missing, with what to install.
func Needs(t testing.TB, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("the test needs the program %s: install the Debian package %s", program, debian)
	}
}

// Host is a machine with a network of its own.
type Host struct {
	t    testing.TB
	ns   int // file descriptor of its namespace
	work chan func()
}

// New makes a host with nothing but its loopback interface, which is up. IPv6 is
// off on what is added later, so that the kernel does not speak by itself; see
// Host.IPv6.
func New(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run make netns as root")
	}
	h := &Host{t: t, work: make(chan func())}
	up, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		up <- err
		for f := range h.work {
			f()
		}
	}()
	err := <-up
	t.Cleanup(func() {
		close(h.work)
		<-done
		if err == nil {
			err = unix.Close(h.ns)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	h.must(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(lo), h.IPv6("default", false))
	})
	return h
}

// Do runs f in the host's network. What f opens stays there; what f starts as a
// process runs there.
func (h *Host) Do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// must runs f in the host's network, where it must not fail.
func (h *Host) must(f func() error) {
	h.t.Helper()
	var err error
	h.Do(func() { err = f() })
	if err != nil {
		h.t.Fatal(err)
	}
}

// IPv6 switches IPv6 of an interface, or of those to come ("default"). It is
// called from within Do.
func (*Host) IPv6(name string, on bool) error {
	v := "1"
	if on {
		v = "0"
	}
	return os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte(v), 0)
}

// Cable plugs an interface of this host into one of another. Both are up, without
// an address. Their names begin with "rr": code that runs on a thread which is not
// the host's finds no interface of that name, instead of one of the machine's own.
func (h *Host) Cable(name string, other *Host, otherName string) {
	h.t.Helper()
	if !strings.HasPrefix(name, "rr") || !strings.HasPrefix(otherName, "rr") {
		h.t.Fatalf("name the ends of a cable rr0, rr1, …: %s and %s may be interfaces of this machine", name, otherName)
	}
	h.must(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: otherName, PeerNamespace: netlink.NsFd(other.ns)}); err != nil {
			return fmt.Errorf("make the cable %s: %w", name, err)
		}
		return nil
	})
	h.Up(name, true)
	other.Up(otherName, true)
}

// Up switches an interface on or off.
func (h *Host) Up(name string, on bool) {
	h.t.Helper()
	h.link(name, func(l netlink.Link) error {
		if on {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

// Bridge makes a switch of interfaces.
func (h *Host) Bridge(name string, ports ...string) {
	h.t.Helper()
	h.must(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	})
	h.link(name, func(bridge netlink.Link) error {
		for _, p := range ports {
			l, err := netlink.LinkByName(p)
			if err == nil {
				err = netlink.LinkSetMaster(l, bridge)
			}
			if err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(bridge)
	})
}

// Macvlan stands a second interface on one.
func (h *Host) Macvlan(on, name string) (err error) {
	h.t.Helper()
	h.link(on, func(l netlink.Link) error {
		err = netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: l.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE})
		return nil
	})
	if err == nil {
		h.Up(name, true)
	}
	return err
}

// Address gives an interface an address: "192.168.100.254/24".
func (h *Host) Address(name, address string) {
	h.t.Helper()
	h.link(name, func(l netlink.Link) error {
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if strings.Contains(address, ":") {
			a.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(l, a)
	})
}

// Default makes a default route by a router.
func (h *Host) Default(name, router string) {
	h.t.Helper()
	h.link(name, func(l netlink.Link) error {
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(router)})
	})
}

// MAC is the address of an interface.
func (h *Host) MAC(name string) (mac net.HardwareAddr) {
	h.t.Helper()
	h.link(name, func(l netlink.Link) error { mac = l.Attrs().HardwareAddr; return nil })
	return mac
}

// SetMAC gives an interface another address.
func (h *Host) SetMAC(name, mac string) {
	h.t.Helper()
	h.link(name, func(l netlink.Link) error {
		m, err := net.ParseMAC(mac)
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(l, m)
	})
}

// Run runs a program to its end and returns what it said; it must succeed.
func (h *Host) Run(name string, args ...string) string {
	h.t.Helper()
	var out []byte
	h.must(func() (err error) {
		if out, err = exec.Command(name, args...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, out)
		}
		return err
	})
	return string(out)
}

// Start starts a program, which the end of the test ends by an interrupt, and the end of
// this process by SIGKILL: the kernel sends it when the thread ends that started it, which
// is the host's own. A program that changes its user or group, or one that it starts itself,
// is not ended so (prctl(2), PR_SET_PDEATHSIG).
func (h *Host) Start(cmd *exec.Cmd) {
	h.t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	h.must(cmd.Start)
	h.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait() // the test judges how it ended
	})
}

// Sent is how many frames an interface has sent.
func (h *Host) Sent(name string) (n uint64) {
	h.t.Helper()
	h.link(name, func(l netlink.Link) error { n = l.Attrs().Statistics.TxPackets; return nil })
	return n
}

func (h *Host) link(name string, f func(netlink.Link) error) {
	h.t.Helper()
	h.must(func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = f(l)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		return nil
	})
}
