//go:build lab

package lab

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/nstest"
)

// A cable between two machines is a pair of unix sockets, a frame a datagram: what one
// end sends to a machine that is off is lost. A cable between a machine and a host that
// is a network namespace has the other end here.

// frames that wait in a socket. The kernel's default of 10 is less than one window of TCP.
const socketQueue = "2000"

// keepUp is how long a frame waits for its machine to take the ones before it.
const keepUp = 2 * time.Second

// longCable plugs an interface of a host into a machine's port: it carries frames
// between a tap and the sockets until the test ends.
func longCable(t *testing.T, h *nstest.Host, nic, own, other string) {
	t.Helper()
	tap := openTap(t, h, nic)
	var conn *net.UnixConn
	var err error
	h.Do(func() {
		if err = os.WriteFile("/proc/sys/net/unix/max_dgram_qlen", []byte(socketQueue), 0); err == nil {
			conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	to := &net.UnixAddr{Name: other, Net: "unixgram"}
	ended := make(chan error, 2)
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, err := tap.Read(b)
			if err != nil {
				ended <- err
				return
			}
			// A machine that does not keep up is waited for, as machines wait for each other: what
			// is lost here costs iPXE seconds. One that is off refuses at once.
			_ = conn.SetWriteDeadline(time.Now().Add(keepUp))
			_, _ = conn.WriteToUnix(b[:n], to)
		}
	}()
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, err := conn.Read(b)
			if err != nil {
				ended <- err
				return
			}
			_, _ = tap.Write(b[:n]) // the interface may be down
		}
	}()
	t.Cleanup(func() {
		err := errors.Join(tap.Close(), conn.Close())
		for range 2 {
			if e := <-ended; !errors.Is(e, net.ErrClosed) && !errors.Is(e, os.ErrClosed) {
				err = errors.Join(err, e)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// openTap makes an interface of a host whose other side is the file.
func openTap(t *testing.T, h *nstest.Host, name string) *os.File {
	t.Helper()
	var f *os.File
	var err error
	h.Do(func() {
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		var q *unix.Ifreq
		if q, err = unix.NewIfreq(name); err != nil {
			return
		}
		q.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, q); err == nil {
			f = os.NewFile(uintptr(fd), filepath.Join("/dev/net/tun", name))
		}
	})
	if err != nil {
		t.Fatalf("make the interface %s: %v", name, err)
	}
	h.Up(name, true)
	return f
}
