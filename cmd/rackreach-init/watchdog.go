//go:build linux

package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The watchdog of the machine, which resets it when nobody writes to it for dogTimeout.
const (
	dogTimeout = 60 // seconds
	dogEvery   = 10 * time.Second
)

// watchdog resets a machine whose installer is stuck: one that makes no step for
// stepLimit is not fed any more.
type watchdog struct {
	mu   sync.Mutex
	last time.Time
	file *os.File
}

// alive notes a step.
func (d *watchdog) alive() {
	d.mu.Lock()
	d.last = time.Now()
	d.mu.Unlock()
}

// fed reports whether the last step is recent enough.
func (d *watchdog) fed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.last) < stepLimit
}

// start begins to feed it, for as long as the kernel runs. A machine without one is
// told of.
func (d *watchdog) start(say func(string)) {
	f, err := os.OpenFile("/dev/watchdog", os.O_WRONLY, 0)
	if err != nil {
		say("this machine has no watchdog: nothing ends an installer that is stuck")
		return
	}
	d.file = f
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, dogTimeout); err != nil {
		say(fmt.Sprintf("the watchdog keeps its own time: %v", err))
	}
	say(fmt.Sprintf("the watchdog resets this machine when nothing goes on for %s", stepLimit))
	go func() {
		for d.fed() {
			if _, err := f.Write([]byte{0}); err != nil {
				say(fmt.Sprintf("the watchdog does not eat: %v", err))
				return
			}
			time.Sleep(dogEvery)
		}
	}()
}
