//go:build bench

package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Who shares the machine spoils a figure. What others used is known afterwards, and a
// measurement that they spoiled is made once more, whatever it said.

const (
	againAtMost = 3 // measurements that are made once more, for one figure
	quietLook   = time.Second
)

// cpuTime is what was used since the machine started.
type cpuTime struct {
	all  time.Duration // of the programs of the machine, and of the kernel for them
	ours time.Duration // of this process, of those that it waited for, and of the server
}

// used reads the CPU time so far; the server may be nil.
func (b *dhcpBench) used(server *process) cpuTime {
	b.t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(stat), "\n") // cpu user nice system idle iowait irq softirq steal …
	f := strings.Fields(line)
	if len(f) < 9 {
		b.t.Fatalf("/proc/stat reads %q", line)
	}
	var u cpuTime
	for _, k := range []int{1, 2, 3, 8} {
		n, err := strconv.Atoi(f[k])
		if err != nil {
			b.t.Fatal(err)
		}
		u.all += time.Duration(n) * perTick
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			b.t.Fatal(err)
		}
		u.ours += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	if server != nil {
		u.ours += b.cpu(server)
	}
	return u
}

// others is the share of all cores that others used since then.
func (u cpuTime) others(since cpuTime, took time.Duration) float64 {
	return max(0, (u.all-since.all)-(u.ours-since.ours)).Seconds() / (took.Seconds() * float64(runtime.NumCPU()))
}

// undisturbed calls measure, and calls it again while others spoil it. It says by how
// much they did in the end.
func (b *dhcpBench) undisturbed(server *process, what string, measure func()) (others float64) {
	b.t.Helper()
	for range againAtMost {
		b.quiet(server)
		began, before := time.Now(), b.used(server)
		measure()
		if others = b.used(server).others(before, time.Since(began)); others <= b.others {
			return others
		}
		b.spoiled++
		b.t.Logf("once more: others used %.0f %% of the machine during %s", 100*others, what)
	}
	fmt.Printf("spoiled: others used %.0f %% of the machine during %s, and %d times before\n", 100*others, what, againAtMost-1)
	return others
}

// quiet waits until others leave the machine alone, for as long as DHCP_WAIT says.
func (b *dhcpBench) quiet(server *process) {
	b.t.Helper()
	for b.wait > 0 {
		began, before := time.Now(), b.used(server)
		time.Sleep(quietLook)
		took := time.Since(began)
		if b.used(server).others(before, took) <= b.others {
			return
		}
		b.wait -= took
	}
}
