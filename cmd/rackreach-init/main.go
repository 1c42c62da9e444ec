//go:build linux

// Command rackreach-init is /init of the installer that rackreach boots machines
// from: the first and only program of a small initramfs (internal/initramfs).
//
// It mounts what the kernel has, loads the modules that the machine's devices ask for,
// brings the network up by DHCP, does the job whose URL stands on the kernel's
// command line (internal/installer), and then reboots or powers off as the job says.
//
//	rackreach.job=URL   the job, with its token; required
//	rackreach.mac=MAC   the network interface to use, as the boot loader used it;
//	                    nothing given: the first that gets an address
//
// What happens stands on the console, one line for each step. When a job fails, the
// machine waits to be switched off: the agent has the reason, and the console says it.
// A watchdog resets a machine whose installer makes no step for a long time.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/efivar"
	"github.com/rackreach/rackreach/internal/hardware"
	"github.com/rackreach/rackreach/internal/installer"
	"github.com/rackreach/rackreach/internal/job"
)

const (
	// patience is how long the network may give nothing.
	patience = 15 * time.Minute
	// stepLimit is how long an installer may make no step: more than its patience.
	stepLimit = patience + 10*time.Minute
	// againAfter is the wait before a reboot that may bring another job.
	againAfter = 20 * time.Second
)

func main() {
	m := &machine{root: "/", console: os.Stdout, dog: &watchdog{}}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "rackreach-init is /init of the installer's initramfs; rackreach bundle build-installer makes one. On a running system it does nothing")
		os.Exit(2)
	}
	then := m.live(context.Background())
	m.end(then)
}

// machine is what the installer runs on.
type machine struct {
	root    string
	console *os.File
	dog     *watchdog
	net     *network
	modules *modules
}

// live does all that there is to do, and returns what the machine is to do then. A
// crash is one more way to fail: the kernel must not lose its first process.
func (m *machine) live(ctx context.Context) (then job.Then) {
	defer func() {
		if r := recover(); r != nil {
			m.say(fmt.Sprintf("crashed: %v", r))
			m.say(string(debug.Stack()))
			then = m.again("the installer crashed")
		}
	}()
	if err := m.mount(); err != nil {
		return m.again(err.Error())
	}
	line, err := readCommandLine(m.root)
	if err != nil {
		return m.wait(err.Error())
	}
	m.seed()
	m.modules = openModules(m.root, m.say)
	m.modules.coldplug()
	if _, err := os.Stat("/dev/watchdog"); err != nil {
		m.modules.load("softdog") // better than none
	}
	m.dog.start(m.say)
	if m.net, err = bringUp(ctx, line.mac, m.say); err != nil {
		return m.again(err.Error())
	}
	defer m.net.close()
	out, err := installer.Run(ctx, m.options(line.job))
	switch {
	case errors.Is(err, installer.ErrNoJob):
		return m.again(err.Error())
	case err != nil && out.State != job.Installed:
		return m.wait(err.Error())
	case err != nil: // all is well but the report; the agent will see the system
		m.say(err.Error())
	}
	switch {
	case out.State == job.KeptBack:
		return m.wait(out.Message + ": it holds " + out.Holds)
	case out.State != job.Installed:
		return m.wait(out.Message)
	case out.Kept:
		m.say("the disk holds what the job asks for already")
	default:
		m.say("installed")
	}
	return out.Then
}

// seed waits until the kernel has random numbers. Only one who waits makes it gather
// what it lacks: those who ask without waiting (DHCP's transaction ids) get none on a
// machine whose processor has no generator, minutes on end.
func (m *machine) seed() {
	if _, err := unix.Getrandom(make([]byte, 1), 0); err != nil {
		m.say("no random numbers: " + err.Error())
	}
}

// options are what the installer gets of this machine.
func (m *machine) options(u *url.URL) installer.Options {
	o := installer.Options{
		URL: u, Say: m.say, Alive: m.dog.alive, Patience: patience, Memory: memory(),
		Disks: m.disks,
		Hardware: func(context.Context) job.Hardware {
			h := hardware.Find(os.DirFS(m.root))
			h.Neighbours, h.Problems = m.net.neighbours(), slices.Clone(m.modules.problems)
			return h
		},
		Files: m.writeFiles,
	}
	if _, err := os.Stat("/sys/firmware/efi"); err == nil {
		o.BootEntry = m.bootEntry
	}
	return o
}

// bootEntry makes the firmware boot what was installed.
func (m *machine) bootEntry(p installer.Partition, loader, name string) error {
	const dir = "/sys/firmware/efi/efivars"
	if err := unix.Mount("efivarfs", dir, "efivarfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount the firmware's variables: %w", err)
	}
	m.say(fmt.Sprintf("the firmware boots %s of partition %d first", loader, p.Number))
	return efivar.BootFirst(dir, name, efivar.Disk{Number: uint32(p.Number), First: uint64(p.First), Size: uint64(p.Size), ID: p.ID, Loader: loader})
}

// memory is what frames in flight may take: half of what is free, in bytes.
func memory() int64 {
	var i unix.Sysinfo_t
	if err := unix.Sysinfo(&i); err != nil {
		return 0
	}
	free := int64(i.Freeram) * int64(i.Unit)
	return max(24<<20, min(free/2, installer.DefaultMemory))
}

// settled is how long the list of disks must stay as it is: they come one by one, and
// the only one must not be only the first.
const settled = 5 * time.Second

// disks lists the disks once no more come.
func (m *machine) disks() ([]job.Disk, error) {
	var last string
	since := time.Now()
	for began := time.Now(); ; time.Sleep(250 * time.Millisecond) {
		disks := hardware.Disks(os.DirFS(m.root))
		if now := fmt.Sprint(disks); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > settled && (len(disks) > 0 || time.Since(began) > 30*time.Second) {
			return disks, nil
		}
	}
}

// say writes a line on the console, with the seconds since the kernel started.
func (m *machine) say(s string) {
	m.dog.alive()
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	for _, l := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		fmt.Fprintf(m.console, "[%8.3f] rackreach: %s\r\n", time.Duration(t.Nano()).Seconds(), job.Printable(l, 1000))
	}
}

// wait says why nothing goes on, until somebody switches the machine off.
func (m *machine) wait(why string) job.Then {
	for {
		m.say("stopped: " + why)
		m.say("waiting to be switched off or reset")
		time.Sleep(5 * time.Minute)
	}
}

// again reboots after a while: the next boot may bring another job.
func (m *machine) again(why string) job.Then {
	m.say("stopped: " + why)
	m.say(fmt.Sprintf("rebooting in %s", againAfter))
	time.Sleep(againAfter)
	return job.Reboot
}

// end reboots or powers off. The watchdog stays: it ends a reboot that hangs.
func (m *machine) end(then job.Then) {
	unix.Sync()
	how := unix.LINUX_REBOOT_CMD_RESTART
	if then == job.PowerOff {
		m.say("powering off")
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
	} else {
		m.say("rebooting")
	}
	time.Sleep(200 * time.Millisecond) // the serial port is slower than we are
	if err := unix.Reboot(how); err != nil {
		m.say("the kernel does not: " + err.Error())
	}
	select {}
}
