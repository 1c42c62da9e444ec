package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// socket is a socket that is connected to one client.
type socket interface {
	// receive reads one packet. It fails with os.ErrDeadlineExceeded at the
	// deadline, and when somebody sets one that is over.
	receive(p []byte) (int, error)
	setDeadline(t time.Time) error
	// send sends a packet of each header and the body at the same index; bodies
	// may be nil.
	send(headers, bodies [][]byte) error
	// mostBlock is how many bytes of data a packet may hold.
	mostBlock() int
	Close() error
}

// serve answers one request.
func (s *Server) serve(ctx context.Context, at *place, r request, own netip.Addr, client netip.AddrPort) {
	c, err := s.o.dial(own, client)
	if errors.Is(err, errBroadcast) {
		return
	}
	if err != nil {
		s.o.Refused(client, err)
		s.o.Log.Warn("tftp: a client cannot be answered", "client", client, "cause", err)
		return
	}
	defer c.Close()
	var f *File
	var sent int64
	ended := false
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("the transfer crashed: %.200v", x)
			s.o.Log.Error("tftp", "client", client, "cause", err)
		}
		if f != nil && f.Ended != nil && !ended {
			ended = true
			f.Ended(sent, err)
		}
	}()
	if f, err = s.o.Open(r.name, client); err == nil {
		sent, err = s.transfer(ctx, at, c, r, f)
	}
	switch {
	case err == nil, errors.Is(err, ErrAborted), errors.Is(err, ErrSilent):
		return
	case !errors.Is(err, ErrNotFound):
		s.o.Log.Warn("tftp", "client", client, "cause", err)
	}
	s.tell(c, client, err)
}

// transfer sends a file, and returns how many bytes of it were acknowledged.
func (s *Server) transfer(ctx context.Context, at *place, c socket, r request, f *File) (int64, error) {
	content, size := io.ReaderAt(f), f.Size
	if r.text {
		b, err := asText(f)
		if err != nil {
			return 0, err
		}
		content, size = bytes.NewReader(b), int64(len(b))
	}
	a, answer := negotiate(r, size, c.mostBlock())
	x := &sender{socket: c, at: at, content: content, size: size, agreed: a, answer: answer}
	t := newTransfer(a, size, len(answer) > 0, time.Now())
	// A deadline in the past ends a read at once.
	stop := context.AfterFunc(ctx, func() { _ = c.setDeadline(time.Unix(1, 0)) })
	defer stop()
	err := x.run(ctx, t)
	return min(t.acked*int64(a.block), size), err
}

// sender is the socket of one transfer.
type sender struct {
	socket
	agreed
	at      *place
	content io.ReaderAt
	size    int64
	answer  []option

	packet          []byte // header and data of a block that goes alone
	heads, data     []byte // of a window
	headers, bodies [][]byte
}

// run moves a transfer to its end.
func (x *sender) run(ctx context.Context, t *transfer) error {
	p := make([]byte, 512) // acknowledgements, and the words of an error
	s := t.begin(time.Now())
	for {
		switch s.how {
		case whole:
			return nil
		case silent:
			return ErrSilent
		case late:
			return ErrLate
		}
		x.at.note(t)
		if err := x.step(s); err != nil {
			return err
		}
		if err := x.setDeadline(s.wake); err != nil {
			return err
		}
		if ctx.Err() != nil { // after the deadline, which the end of ctx may have set before
			if cause := context.Cause(ctx); errors.Is(cause, ErrSilent) {
				return cause
			}
			return ErrCut
		}
		n, err := x.receive(p)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s = t.expired(time.Now())
		case gone(err):
			return fmt.Errorf("%w: %w", ErrAborted, err)
		case err != nil:
			// Nobody at that address for now, as a neighbour that does not answer
			// ARP: the waits decide.
			s = step{wake: s.wake}
		default:
			block, ok, said := parseAnswer(p[:n])
			if said != nil {
				return said
			}
			s = t.idle(time.Now())
			if ok {
				s = t.acknowledged(block, time.Now())
			}
		}
	}
}

// step sends what a step says.
func (x *sender) step(s step) error {
	var err error
	switch {
	case s.oack:
		err = x.send([][]byte{oackPacket(x.answer)}, nil)
	case s.from < s.to:
		if err := x.load(s.from, s.to); err != nil {
			return err
		}
		err = x.send(x.headers, x.bodies)
	}
	switch {
	case gone(err):
		return fmt.Errorf("%w: %w", ErrAborted, err)
	case errors.Is(err, syscall.EMSGSIZE):
		return fmt.Errorf("blocks of %d bytes no longer fit the path: %w", x.block, err)
	}
	return nil // the rest is as lost: it is sent again
}

// load makes the packets of blocks [from, to).
func (x *sender) load(from, to int64) error {
	n, block := int(to-from), int64(x.block)
	at := (from - 1) * block
	size := int(min(int64(n)*block, x.size-at))
	x.headers, x.bodies = x.headers[:0], x.bodies[:0]
	var p []byte
	if n == 1 { // one buffer, one plain write
		if x.packet == nil {
			x.packet = make([]byte, headerLen+x.block)
		}
		putHeader(x.packet, from)
		p = x.packet[headerLen : headerLen+size]
		x.headers = append(x.headers, x.packet[:headerLen+size])
	} else {
		if x.data == nil {
			x.heads, x.data = make([]byte, x.window*headerLen), make([]byte, x.window*x.block)
		}
		p = x.data[:size]
		for i := range n {
			h := x.heads[i*headerLen : (i+1)*headerLen]
			putHeader(h, from+int64(i))
			x.headers = append(x.headers, h)
			x.bodies = append(x.bodies, p[i*x.block:min((i+1)*x.block, size)])
		}
	}
	if k, err := x.content.ReadAt(p, at); k < len(p) {
		return fmt.Errorf("read %d bytes at %d: %w", len(p), at, err)
	}
	return nil
}

// gone reports whether nobody listens at the client's port any more.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, net.ErrClosed)
}

// asText is a file as netascii: lines end in CR LF, and a CR of its own is CR NUL
// (RFC 764).
func asText(f *File) ([]byte, error) {
	if f.Size > maxText {
		return nil, fmt.Errorf("%w as text: ask for it in mode octet", ErrNotFound)
	}
	b := make([]byte, f.Size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read: %w", err)
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r"), []byte("\r\x00")), []byte("\n"), []byte("\r\n")), nil
}

// udpSocket is a connected UDP socket.
type udpSocket struct {
	*net.UDPConn
	batch *ipv4.PacketConn
	all   []ipv4.Message
	block int
}

func dialUDP(from netip.Addr, to netip.AddrPort) (socket, error) {
	var local *net.UDPAddr
	if isBroadcast(from) { // Linux would bind to it
		return nil, errBroadcast
	}
	if from.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	c, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	headers := 20 + 8 + headerLen // IPv4, UDP
	if to.Addr().Is6() {
		headers += 20
	}
	most := min(max(pathMTU(c)-headers, plainBlock), greatestBlock)
	return &udpSocket{UDPConn: c, batch: ipv4.NewPacketConn(c), block: most}, nil
}

// isBroadcast reports whether an address is that of all machines on a network of ours.
func isBroadcast(a netip.Addr) bool {
	if a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil || !a.Is4() {
		return false
	}
	for _, o := range own {
		n, ok := o.(*net.IPNet)
		if !ok || len(n.IP.To4()) != 4 {
			continue
		}
		if ones, bits := n.Mask.Size(); bits-ones < 2 { // RFC 3021: it has no broadcast address
			continue
		}
		ip, mask, last := n.IP.To4(), n.Mask[len(n.Mask)-4:], a.As4()
		for i := range last {
			last[i] ^= ip[i] | ^mask[i]
		}
		if last == [4]byte{} {
			return true
		}
	}
	return false
}

func (u *udpSocket) receive(p []byte) (int, error) { return u.Read(p) }

func (u *udpSocket) setDeadline(t time.Time) error { return u.SetReadDeadline(t) }

func (u *udpSocket) mostBlock() int { return u.block }

func (u *udpSocket) send(headers, bodies [][]byte) error {
	if len(bodies) == 0 {
		_, err := u.Write(headers[0])
		return err
	}
	for len(u.all) < len(headers) {
		u.all = append(u.all, ipv4.Message{Buffers: make([][]byte, 2)})
	}
	for i := range headers {
		u.all[i].Buffers[0], u.all[i].Buffers[1] = headers[i], bodies[i]
	}
	out := u.all[:len(headers)]
	for at := 0; at < len(out); {
		n, err := u.batch.WriteBatch(out[at:], 0)
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}
