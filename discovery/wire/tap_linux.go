package wire

import (
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
)

// Tap hears frames of one interface and sends none.
type Tap struct {
	name string
	conn *packet.Conn
	buf  []byte
}

// OpenTap begins to listen. It needs CAP_NET_RAW, and no address on the interface.
func OpenTap(name string, h Heard) (*Tap, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("listen on interface %s: %w", name, err)
	}
	program, err := bpf.Assemble(h.filter())
	if err != nil {
		return nil, fmt.Errorf("listen on interface %s: %w", name, err)
	}
	conn, err := packet.Listen(link, packet.Raw, int(h.EtherType), &packet.Config{Filter: program})
	if err != nil {
		return nil, fmt.Errorf("listen on interface %s: %w", name, permitted(err))
	}
	if h.Group != nil {
		err = conn.JoinGroup(h.Group)
	}
	if err == nil && h.Others {
		err = conn.SetPromiscuous(true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on interface %s: %w", name, err), conn.Close())
	}
	return &Tap{name: name, conn: conn, buf: make([]byte, MaxFrame)}, nil
}

// Read waits for a frame, which is valid until the next Read. It returns
// net.ErrClosed, wrapped, after Close; another error need not be the end.
func (t *Tap) Read() ([]byte, error) {
	n, _, err := t.conn.ReadFrom(t.buf)
	if err != nil {
		return nil, err
	}
	return t.buf[:n], nil
}

// Close ends a Read that waits.
func (t *Tap) Close() error {
	if err := t.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop listening on interface %s: %w", t.name, err)
	}
	return nil
}

// Sender sends frames out of one interface and hears nothing.
type Sender struct {
	name string
	conn *packet.Conn
}

// OpenSender opens an interface for sending. It needs CAP_NET_RAW.
func OpenSender(name string) (*Sender, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("send out of interface %s: %w", name, err)
	}
	conn, err := packet.Listen(link, packet.Raw, 0, nil) // protocol 0: nothing is queued on it
	if err != nil {
		return nil, fmt.Errorf("send out of interface %s: %w", name, permitted(err))
	}
	return &Sender{name, conn}, nil
}

// Send sends one frame, which begins with its target's MAC.
func (s *Sender) Send(frame []byte) error {
	if len(frame) < ethernetHeader {
		return fmt.Errorf("send out of interface %s: a frame of only %d bytes", s.name, len(frame))
	}
	if _, err := s.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
		return fmt.Errorf("send out of interface %s: %w", s.name, err)
	}
	return nil
}

// Close gives the socket back.
func (s *Sender) Close() error { return s.conn.Close() }
