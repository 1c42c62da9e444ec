//go:build bench

package actors

import (
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
)

// TestControlPathCPU measures the CPU time of an agent's decisions, from discovery
// to ready, with a durable journal: the real actors and the real journal, on devices
// in virtual time. No image is served and no BMC is spoken to; what plays the
// devices is in the figure. See "make bench-fleet".
func TestControlPathCPU(t *testing.T) {
	const racks = 5
	devices := 0
	begin := cpuTime(t)
	for range racks {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			store, err := journal.Open(dir, journal.Options{Rack: "r1"})
			if err != nil {
				t.Fatal(err)
			}
			r := testRack("r1", 2, 2, 37)
			devices += len(r.Devices)
			w := newWorld(t, NewSystem(), r)
			w.options = func(o *Options) { o.Log = store }
			w.start()
			if err := <-w.ended; err != nil {
				t.Error(err)
			}
			w.finish()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second) // the library's dead-letter throttle ends (virtual time)
		})
	}
	fmt.Printf("CONTROL %.3f ms per device (%d devices)\n", float64((cpuTime(t)-begin).Microseconds())/1000/float64(devices), devices)
}

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
