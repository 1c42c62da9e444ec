package boot

import (
	"net"

	"golang.org/x/sys/unix"
)

// widen gives a connection the send buffer of one that is alone, whatever
// net.core.wmem_max says. That needs CAP_NET_ADMIN; without it, or when the peer is gone
// already, the kernel's own bound stays.
func widen(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
		})
	}
}
