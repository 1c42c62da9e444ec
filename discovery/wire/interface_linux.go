package wire

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Interface serves DHCP on one network interface: messages from it and to it
// only, whatever other interfaces the machine has.
type Interface struct {
	name    string
	mac     net.HardwareAddr
	mtu     int
	address netip.Addr
	port    uint16

	conn   net.PacketConn
	batch  *ipv4.PacketConn
	raw    *Sender // frames to clients without an address
	buffer int     // granted, bytes
	// control messages that name a source address, by each that the interface has
	sources map[netip.Addr][]byte

	in      []ipv4.Message // of the one that reads
	dropped atomic.Uint32

	mu      sync.Mutex // of what a write uses:
	out     []ipv4.Message
	outAddr []net.UDPAddr
	outAt   []int // which datagram each message of out is
	frame   []byte
}

// Open binds a UDP port of a network interface. The socket is not shared: a second
// server on the same interface is refused, whichever of the two came first.
//
// Errors: a *TakenError; permission (CAP_NET_RAW, CAP_NET_BIND_SERVICE); no such
// interface.
func Open(name string, o Options) (*Interface, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("open interface %s for DHCP: %w", name, err)
	}
	if len(link.HardwareAddr) != 6 {
		return nil, fmt.Errorf("open interface %s for DHCP: it has no MAC address: take one of Ethernet", name)
	}
	i := &Interface{name: name, mac: link.HardwareAddr, mtu: link.MTU, address: o.Address, port: cmp.Or(o.Port, ServerPort)}
	if !i.address.IsValid() {
		if own := allIPv4(link); len(own) > 0 {
			i.address = own[0]
		}
	}
	if !i.address.Is4() {
		return nil, fmt.Errorf("open interface %s for DHCP: it has no IPv4 address: ip addr add ADDRESS/LENGTH dev %s", name, name)
	}
	i.sources = map[netip.Addr][]byte{}
	for _, a := range append(allIPv4(link), i.address) {
		i.sources[a] = (&ipv4.ControlMessage{Src: net.IP(a.AsSlice())}).Marshal()
	}
	if err := i.bind(cmp.Or(max(o.Buffer, 0), DefaultBuffer)); err != nil {
		return nil, err
	}
	if i.raw, err = OpenSender(name); err != nil {
		return nil, errors.Join(err, i.conn.Close())
	}
	return i, nil
}

func allIPv4(link *net.Interface) (own []netip.Addr) {
	addrs, err := link.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			own = append(own, p.Addr())
		}
	}
	return own
}

// from is the address that a message comes from: a client that asked one of ours
// must not be answered by another.
func (i *Interface) from(d *Datagram) netip.Addr {
	if _, ours := i.sources[d.Local.Addr()]; ours {
		return d.Local.Addr()
	}
	return i.address
}

// permitted says what a program lacks that is not allowed to.
func permitted(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run it as root, or with the capabilities CAP_NET_RAW and CAP_NET_BIND_SERVICE", err)
	}
	return err
}

// bind makes the socket.
func (i *Interface) bind(buffer int) error {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) { set = i.prepare(int(fd), buffer) })
		return errors.Join(err, set)
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf("0.0.0.0:%d", i.port))
	if errors.Is(err, unix.EADDRINUSE) {
		return &TakenError{Interface: i.name, Port: i.port, Holders: Holders("udp", i.port), Err: err}
	}
	if err != nil {
		return fmt.Errorf("bind UDP port %d of interface %s: %w", i.port, i.name, permitted(err))
	}
	i.conn, i.batch = conn, ipv4.NewPacketConn(conn)
	if err := i.batch.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return errors.Join(fmt.Errorf("ask for the target of messages: %w", err), conn.Close())
	}
	i.buffer = granted(conn.(*net.UDPConn))
	return nil
}

// prepare sets what must be set before the socket is bound.
func (i *Interface) prepare(fd, buffer int) error {
	if err := unix.BindToDevice(fd, i.name); err != nil {
		return fmt.Errorf("bind to the interface: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1); err != nil {
		return fmt.Errorf("ask for the count of dropped messages: %w", err)
	}
	// Beyond the system's limit only with CAP_NET_ADMIN; below, as far as it goes.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) == nil {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
		return fmt.Errorf("set the receive buffer: %w", err)
	}
	return nil
}

// granted is the buffer that the kernel gave. It doubles what it was asked for, to
// have room for its own (socket(7)).
func granted(c *net.UDPConn) (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	return n / 2
}

// Name is the name of the interface.
func (i *Interface) Name() string { return i.name }

// Address is where answers come from.
func (i *Interface) Address() netip.Addr { return i.address }

// Buffer is the room for messages that wait to be read, in bytes.
func (i *Interface) Buffer() int { return i.buffer }

// Dropped counts the messages that the kernel threw away because nobody read them
// in time. What is dropped becomes known with the next message that is not.
func (i *Interface) Dropped() uint64 { return uint64(i.dropped.Load()) }

// Read waits for messages and puts up to MaxBatch of them into ds. It returns
// net.ErrClosed, wrapped, after Close; another error need not be the end. One
// goroutine reads.
func (i *Interface) Read(ds []Datagram) (int, error) {
	const room = 64 // bytes of control messages: IP_PKTINFO and SO_RXQ_OVFL take 56
	ds = ds[:min(len(ds), MaxBatch)]
	for len(i.in) < len(ds) {
		i.in = append(i.in, ipv4.Message{Buffers: make([][]byte, 1), OOB: make([]byte, room)})
	}
	for k := range ds {
		i.in[k].Buffers[0], i.in[k].OOB = ds[k].Payload, i.in[k].OOB[:room]
	}
	n, err := i.batch.ReadBatch(i.in[:len(ds)], 0)
	if err != nil {
		return 0, err
	}
	for k := range n {
		m := &i.in[k]
		d := &ds[k]
		d.Payload, d.Hardware = d.Payload[:m.N], nil
		d.Peer = netip.AddrPort{}
		if u, ok := m.Addr.(*net.UDPAddr); ok {
			a := u.AddrPort()
			d.Peer = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		}
		d.Local = netip.AddrPortFrom(i.control(m.OOB[:m.NN]), i.port)
	}
	return n, nil
}

// control reads the control messages of one message: the address that it was sent
// to, and how many messages were dropped so far.
func (i *Interface) control(b []byte) (to netip.Addr) {
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return to
		}
		switch {
		case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			to = netip.AddrFrom4([4]byte(data[8:12])) // ip(7): in_pktinfo.ipi_addr
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			i.dropped.Store(binary.NativeEndian.Uint32(data))
		}
		b = rest
	}
	return to
}

// Write sends messages: those with Hardware as frames, the others many at once.
// failed is called for each that did not leave.
func (i *Interface) Write(ds []Datagram, failed func(k int, err error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for k := range ds {
		if ds[k].Hardware != nil {
			if err := i.writeFrame(&ds[k]); err != nil {
				failed(k, err)
			}
			continue
		}
		i.queue(&ds[k], k)
		if len(i.outAt) == MaxBatch {
			i.flush(failed)
		}
	}
	i.flush(failed)
}

// queue makes a message of a datagram.
func (i *Interface) queue(d *Datagram, k int) {
	n := len(i.outAt)
	if n == len(i.out) {
		i.out = append(i.out, ipv4.Message{Buffers: make([][]byte, 1)})
		i.outAddr = append(i.outAddr, net.UDPAddr{IP: make(net.IP, 4)})
	}
	a := d.Peer.Addr().Unmap().As4()
	copy(i.outAddr[n].IP, a[:])
	i.outAddr[n].Port = int(d.Peer.Port())
	i.out[n].Buffers[0], i.out[n].OOB = d.Payload, i.sources[i.from(d)]
	i.outAt = append(i.outAt, k)
}

// flush sends what was queued. A message that cannot be sent does not keep back
// those behind it.
func (i *Interface) flush(failed func(int, error)) {
	for n := range i.outAt { // the addresses may have moved while the slice grew
		i.out[n].Addr = &i.outAddr[n]
	}
	for at := 0; at < len(i.outAt); {
		n, err := i.batch.WriteBatch(i.out[at:len(i.outAt)], 0)
		if at += max(n, 0); err != nil && at < len(i.outAt) {
			failed(i.outAt[at], err)
			at++
		}
	}
	i.outAt = i.outAt[:0]
}

// writeFrame sends one message without asking who has its address.
func (i *Interface) writeFrame(d *Datagram) (err error) {
	if udpHeader+ipv4Header+len(d.Payload) > i.mtu {
		return fmt.Errorf("the message of %d bytes does not fit a frame of interface %s, whose MTU is %d", len(d.Payload), i.name, i.mtu)
	}
	u := UDP{From: i.mac, To: d.Hardware, Source: netip.AddrPortFrom(i.from(d), i.port), Target: d.Peer, Payload: d.Payload}
	if i.frame, err = u.AppendFrame(i.frame[:0]); err != nil {
		return err
	}
	return i.raw.Send(i.frame)
}

// Close ends a Read that waits, and gives the port back.
func (i *Interface) Close() error {
	err := errors.Join(i.conn.Close(), i.raw.Close())
	if errors.Is(err, net.ErrClosed) {
		return nil // it was closed before
	}
	return err
}
