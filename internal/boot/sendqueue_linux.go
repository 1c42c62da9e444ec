package boot

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// tcpClose is the state of a connection that its peer has reset, or that is over
// (TCP_CLOSE of include/net/tcp_states.h).
const tcpClose = 7

// queued is how many bytes that were written to a TCP connection its peer has not
// acknowledged, and whether it goes on; -1 when it was closed here, and nobody knows any
// more. In other connections nothing waits.
func queued(c net.Conn) (n int64, open bool) {
	n, open = -1, false
	tcp := control(c, func(fd int) {
		q, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		if err != nil {
			return
		}
		n = int64(q)
		info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
		open = err == nil && info.State != tcpClose
	})
	if !tcp {
		return 0, true
	}
	return n, open
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

// control calls f with the socket of a TCP connection, unless that was closed, and reports
// whether it is one.
func control(c net.Conn, f func(fd int)) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // closed
	}
	return true
}
