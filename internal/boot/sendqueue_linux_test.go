package boot

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection that is alone gets a large send buffer where programs may have one; where
// they may not, and among others, the kernel's own bound stays.
func TestSendBuffer(t *testing.T) {
	in, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(in, 2)
	defer l.Close()
	var got []int
	for range 2 {
		device, err := net.Dial("tcp4", in.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		control(c.(*conn).Conn, func(fd int) {
			n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
			if err != nil {
				t.Error(err)
			}
			got = append(got, n)
		})
	}
	kernels := got[1]
	want := kernels
	if mostSendBuffer() >= sendBuffer {
		want = 2 * sendBuffer
	}
	if got[0] != want || kernels >= 2*sendBuffer {
		t.Errorf("buffers of %d and %d bytes, want %d and the kernel's own", got[0], kernels, want)
	}
}
