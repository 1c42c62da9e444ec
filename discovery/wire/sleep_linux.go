package wire

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longest is up to where an alarm is worth its system calls.
const longest = 20 * time.Millisecond

// alarm is a timerfd.
type alarm struct {
	file *os.File
	raw  syscall.RawConn
}

// alarms are those that nobody waits for. One that is collected closes itself.
var alarms = sync.Pool{New: func() any { return newAlarm() }}

// Sleep is time.Sleep for short times. The runtime waits in epoll_wait, which counts in
// milliseconds: 0.1 ms takes it 1.1 (measured, Go 1.26). This takes 0.2.
func Sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	if d < longest {
		a := alarms.Get().(*alarm)
		defer alarms.Put(a)
		if a.wait(d) {
			return
		}
	}
	time.Sleep(d)
}

// newAlarm returns one that never rings when the kernel has none to give.
func newAlarm() *alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return &alarm{}
	}
	a := &alarm{file: os.NewFile(uintptr(fd), "timerfd")}
	a.raw, _ = a.file.SyscallConn() // fails for a nil file only
	return a
}

// wait reports whether it waited.
func (a *alarm) wait(d time.Duration) bool {
	if a.file == nil {
		return false
	}
	var set error
	err := a.raw.Control(func(fd uintptr) {
		set = unix.TimerfdSettime(int(fd), 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil)
	})
	if err != nil || set != nil {
		return false
	}
	var expired [8]byte // how often, timerfd_create(2)
	_, err = a.file.Read(expired[:])
	return err == nil
}
