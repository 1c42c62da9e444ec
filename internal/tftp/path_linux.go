package tftp

import (
	"net"

	"golang.org/x/sys/unix"
)

// ethernetMTU is the MTU of an interface that nothing is known of, in bytes.
const ethernetMTU = 1500

// pathMTU is what the kernel knows of the path of a connected socket, in bytes:
// the MTU of its interface, or less once a router on the way has said so.
func pathMTU(c *net.UDPConn) int {
	mtu := ethernetMTU
	raw, err := c.SyscallConn()
	if err != nil {
		return mtu
	}
	level, name := unix.IPPROTO_IP, unix.IP_MTU
	if a, ok := c.RemoteAddr().(*net.UDPAddr); ok && a.IP.To4() == nil {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	_ = raw.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), level, name); err == nil {
			mtu = n
		}
	})
	return mtu
}
