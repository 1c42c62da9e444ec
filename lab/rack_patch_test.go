//go:build lab

package lab

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// patch is a cable between two machines that can be unplugged while they run: it goes by
// two sockets of a panel between them.
type patch struct{ plugged atomic.Bool }

// newPatch makes one; each end is the machine's own socket, and the panel's.
func newPatch(t *testing.T, hall *nstest.Host, a, panelA, b, panelB string) *patch {
	t.Helper()
	p := &patch{}
	p.plugged.Store(true)
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
		if !p.plugged.Load() {
			continue
		}
		_ = by.SetWriteDeadline(time.Now().Add(keepUp))
		_, _ = by.WriteToUnix(b[:n], address) // a machine that is off refuses it
	}
}
