//go:build netns

package tftp

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/rackreach/rackreach/internal/nstest"
)

// TestBlocksFitTheCable: over a cable that takes less than Ethernet does, a client that
// asks for large blocks gets small ones, and no fragments.
func TestBlocksFitTheCable(t *testing.T) {
	nstest.Needs(t, "ip", "iproute2")
	nstest.Needs(t, "atftp", "atftp")
	server, client := nstest.New(t), nstest.New(t)
	server.Cable("rr0", client, "rr1")
	server.Address("rr0", "10.79.0.1/24")
	client.Address("rr1", "10.79.0.2/24")
	server.Run("ip", "link", "set", "rr0", "mtu", "1400")
	var block int
	content := bytes.Repeat([]byte("loader"), 50_000)
	s := New(Options{
		Open: func(string, netip.AddrPort) (*File, error) {
			return &File{ReaderAt: bytes.NewReader(content), Size: int64(len(content))}, nil
		},
		dial: func(from netip.Addr, to netip.AddrPort) (c socket, err error) {
			server.Do(func() { c, err = dialUDP(from, to) })
			if err == nil {
				block = c.mostBlock()
			}
			return c, err
		},
	})
	var conn *net.UDPConn
	var err error
	server.Do(func() { conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 79, 0, 1), Port: 69}) })
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context(), conn) }()
	file := filepath.Join(t.TempDir(), "got")
	client.Run("atftp", "--option", "blksize 9000", "--option", "windowsize 8", "--get", "-r", "x", "-l", file, "10.79.0.1", "69")
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a socket that was closed by another is no error")
	}
	if block != 1400-32 {
		t.Errorf("blocks of up to %d bytes over a cable with an MTU of 1400", block)
	}
}
