package boot

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// bufferOf is what the kernel gave a connection.
func bufferOf(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	raw, err := c.(*conn).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return n
}

// A connection that is alone gets a large send buffer where that is allowed; where it is
// not, and among others, the kernel's own bound stays.
func TestSendBuffer(t *testing.T) {
	in, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(in, 2)
	defer l.Close()
	var got []int
	for range 2 {
		c, err := net.Dial("tcp4", in.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got = append(got, bufferOf(t, s))
	}
	want := got[1]
	if want >= 2*sendBuffer {
		t.Errorf("the second one has a buffer of %d bytes", want)
	}
	if mayWiden(t) {
		want = 2 * sendBuffer
	}
	if got[0] != want {
		t.Errorf("who is alone has a buffer of %d bytes, want %d", got[0], want)
	}
}

// mayWiden tells whether this process has CAP_NET_ADMIN.
func mayWiden(t *testing.T) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
	if cerr := unix.Close(fd); cerr != nil {
		t.Fatal(cerr)
	}
	return err == nil
}
