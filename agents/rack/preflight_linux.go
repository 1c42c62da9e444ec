package rackagent

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// lacking names the capabilities that a rack needs and this process does not have.
func lacking() ([]string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return nil, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	var out []string
	for _, c := range []struct {
		bit  int
		name string
	}{{unix.CAP_NET_RAW, "CAP_NET_RAW (frames)"}, {unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE (ports 67, 69 and 80)"}} {
		if sets[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			out = append(out, c.name)
		}
	}
	return out, nil
}

// freeSpace is the room that is left where a directory is, in bytes.
func freeSpace(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// clockSynchronised reports whether a time service disciplines the kernel's clock
// (adjtimex(2)). It changes nothing.
func clockSynchronised() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, err
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}
