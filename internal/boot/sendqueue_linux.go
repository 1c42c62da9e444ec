package boot

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// queued is how many bytes that were written to a TCP connection its peer has not
// acknowledged; 0 for other ones, and for one that is closed.
func queued(c net.Conn) (n int64) {
	control(c, func(fd int) {
		if q, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			n = int64(q)
		}
	})
	return n
}

// widen gives a TCP connection the send buffer of one that is alone, if programs may have
// as much: the kernel would cut it to net.core.wmem_max, and not let it grow any more.
func widen(c net.Conn) {
	if mostSendBuffer() < sendBuffer {
		return
	}
	control(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer) // it goes on with the kernel's own
	})
}

// mostSendBuffer is net.core.wmem_max; 0: it cannot be read.
var mostSendBuffer = sync.OnceValue(func() int {
	b, err := os.ReadFile("/proc/sys/net/core/wmem_max")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
})

// control calls f with the socket of a TCP connection that is open.
func control(c net.Conn, f func(fd int)) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // closed: there is nothing to do
}
