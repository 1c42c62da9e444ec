package wire_test

import (
	"errors"
	"net"
	"testing"

	"github.com/rackreach/rackreach/discovery/wire"
)

func TestOverAConnection(t *testing.T) {
	here, there := listen(t), listen(t)
	w := wire.Over(here)
	peer := there.LocalAddr().(*net.UDPAddr).AddrPort()
	w.Write([]wire.Datagram{{Payload: []byte("one"), Peer: peer}, {Payload: []byte("two"), Peer: peer}}, func(i int, err error) { t.Error(i, err) })
	for _, want := range []string{"one", "two"} {
		b := make([]byte, 16)
		n, from, err := there.ReadFrom(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("%q %v, want %q", b[:n], err, want)
		}
		if _, err := there.WriteTo(b[:n], from); err != nil {
			t.Fatal(err)
		}
		ds := []wire.Datagram{{Payload: make([]byte, 16)}, {}}
		if n, err := w.Read(ds); n != 1 || err != nil || string(ds[0].Payload) != want || ds[0].Peer != peer {
			t.Fatalf("%d %v %+v", n, err, ds[0])
		}
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
	if _, err := w.Read([]wire.Datagram{{Payload: make([]byte, 16)}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	told := 0
	w.Write([]wire.Datagram{{Payload: []byte("three"), Peer: peer}}, func(int, error) { told++ })
	if told != 1 {
		t.Error("nobody heard that it did not leave")
	}
}

func listen(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
