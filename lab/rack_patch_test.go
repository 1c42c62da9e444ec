//go:build lab

package lab

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// patch is a cable between two machines that can be unplugged while they run: it goes by
// two sockets of a panel between them. A machine does not see that it is unplugged: its port
// stays up, and spanning tree lets a port forward that hears nobody. So a cable that is
// plugged carries what is for the neighbour alone at first, as between ports that come up,
// which listen before they forward.
type patch struct {
	plugged atomic.Bool
	carries atomic.Bool // everything
}

// listens is how long a cable that was plugged carries nothing but that: several times what
// spanning tree waits between two hellos.
const listens = 10 * time.Second

// plug plugs it in.
func (p *patch) plug() {
	p.plugged.Store(true)
	time.Sleep(listens)
	p.carries.Store(true)
}

// unplug takes it out.
func (p *patch) unplug() { p.plugged.Store(false); p.carries.Store(false) }

// forNeighbour reports whether a frame is one that no bridge forwards (IEEE 802.1D, 7.12.6).
func forNeighbour(frame []byte) bool {
	return len(frame) > 6 && bytes.Equal(frame[:5], []byte{0x01, 0x80, 0xc2, 0, 0}) && frame[5] < 0x10
}

// newPatch makes one; each end is the machine's own socket, and the panel's.
func newPatch(t *testing.T, hall *nstest.Host, a, panelA, b, panelB string) *patch {
	t.Helper()
	p := &patch{}
	p.plugged.Store(true)
	p.carries.Store(true)
	var conns []*net.UnixConn
	for _, name := range []string{panelA, panelB} {
		var conn *net.UnixConn
		var err error
		hall.Do(func() { conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"}) })
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	ended := make(chan error, 2)
	go func() { ended <- p.carry(conns[0], conns[1], b) }()
	go func() { ended <- p.carry(conns[1], conns[0], a) }()
	t.Cleanup(func() {
		err := errors.Join(conns[0].Close(), conns[1].Close())
		for range 2 {
			if e := <-ended; !errors.Is(e, net.ErrClosed) {
				err = errors.Join(err, e)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	return p
}

// carry hands on what comes in at one end, for as long as it is plugged.
func (p *patch) carry(from, by *net.UnixConn, to string) error {
	b := make([]byte, 1<<16)
	address := &net.UnixAddr{Name: to, Net: "unixgram"}
	for {
		n, err := from.Read(b)
		if err != nil {
			return err
		}
		if !p.plugged.Load() || !p.carries.Load() && !forNeighbour(b[:n]) {
			continue
		}
		_ = by.SetWriteDeadline(time.Now().Add(keepUp))
		_, _ = by.WriteToUnix(b[:n], address) // a machine that is off refuses it
	}
}
