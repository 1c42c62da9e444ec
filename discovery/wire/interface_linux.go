package wire

import (
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

	"github.com/mdlayher/packet"
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
	ports   []*port
	raw     *packet.Conn // frames to clients without an address; hears nothing

	merged chan handed   // what is read, if there are two ports
	gone   chan struct{} // closed by Close
	once   sync.Once
	reads  sync.WaitGroup

	mu    sync.Mutex // of what a write uses
	frame []byte
}

// port is one UDP socket.
type port struct {
	number uint16
	conn   net.PacketConn
	batch  *ipv4.PacketConn
	buffer int // granted, bytes

	in, out []ipv4.Message
	outAddr []net.UDPAddr
	outAt   []int  // which datagram each message of out is
	source  []byte // control message that names our source address
	dropped atomic.Uint32
}

// handed is what a reader of one of two ports hands over.
type handed struct {
	ds    []Datagram
	err   error
	taken chan struct{}
}

// Open binds UDP port 67 of a network interface, and 4011 if that is asked for.
// The sockets are not shared: a second server on the same interface is refused,
// whichever of the two came first.
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
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	i := &Interface{name: name, mac: link.HardwareAddr, mtu: link.MTU, address: o.Address, gone: make(chan struct{})}
	if !i.address.IsValid() {
		i.address = firstIPv4(link)
	}
	if !i.address.Is4() {
		return nil, fmt.Errorf("open interface %s for DHCP: it has no IPv4 address: ip addr add ADDRESS/LENGTH dev %s", name, name)
	}
	numbers := []uint16{ServerPort}
	if o.Proxy {
		numbers = append(numbers, ProxyPort)
	}
	for _, n := range numbers {
		p, err := i.bind(n, o.Buffer)
		if err != nil {
			return nil, errors.Join(err, i.Close())
		}
		i.ports = append(i.ports, p)
	}
	// Protocol 0: this socket is for sending, nothing is queued on it.
	if i.raw, err = packet.Listen(link, packet.Raw, 0, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("open interface %s for frames: %w", name, permitted(err)), i.Close())
	}
	if len(i.ports) > 1 {
		i.merge()
	}
	return i, nil
}

func firstIPv4(link *net.Interface) netip.Addr {
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// permitted says what a program lacks that is not allowed to.
func permitted(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run it as root, or with the capabilities CAP_NET_RAW and CAP_NET_BIND_SERVICE", err)
	}
	return err
}

// bind makes the socket of one port.
func (i *Interface) bind(number uint16, buffer int) (*port, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) { set = i.prepare(int(fd), buffer) })
		return errors.Join(err, set)
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf("0.0.0.0:%d", number))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, &TakenError{Interface: i.name, Port: number, Holders: Holders("udp", number), Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("bind UDP port %d of interface %s: %w", number, i.name, permitted(err))
	}
	p := &port{number: number, conn: conn, batch: ipv4.NewPacketConn(conn)}
	if err := p.batch.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return nil, errors.Join(fmt.Errorf("ask for the target of messages: %w", err), conn.Close())
	}
	p.source = (&ipv4.ControlMessage{Src: net.IP(i.address.AsSlice())}).Marshal()
	p.buffer = granted(conn.(*net.UDPConn))
	return p, nil
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

// Buffer is the room for messages that wait to be read on port 67, in bytes.
func (i *Interface) Buffer() int { return i.ports[0].buffer }

// Dropped counts the messages that the kernel threw away because nobody read them
// in time. What is dropped becomes known with the next message that is not.
func (i *Interface) Dropped() uint64 {
	var n uint64
	for _, p := range i.ports {
		n += uint64(p.dropped.Load())
	}
	return n
}

// Read waits for messages and puts up to MaxBatch of them into ds. It returns
// net.ErrClosed, wrapped, after Close; another error need not be the end. One
// goroutine reads.
func (i *Interface) Read(ds []Datagram) (int, error) {
	if i.merged == nil {
		return i.ports[0].read(ds)
	}
	select {
	case h := <-i.merged:
		defer close(h.taken)
		if h.err != nil {
			return 0, h.err
		}
		n := min(len(ds), len(h.ds))
		for k := range n {
			m := copy(ds[k].Payload, h.ds[k].Payload)
			ds[k].Payload, ds[k].Peer, ds[k].Local, ds[k].Hardware = ds[k].Payload[:m], h.ds[k].Peer, h.ds[k].Local, nil
		}
		return n, nil
	case <-i.gone:
		return 0, fmt.Errorf("read from interface %s: %w", i.name, net.ErrClosed)
	}
}

// merge reads both ports, each on a goroutine of its own that ends with Close. They
// read one message at a time: the second port is for a few clients.
func (i *Interface) merge() {
	i.merged = make(chan handed)
	for _, p := range i.ports {
		i.reads.Go(func() {
			room := make([]byte, 1<<16)
			for {
				ds := []Datagram{{Payload: room}}
				n, err := p.read(ds)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				h := handed{ds[:n], err, make(chan struct{})}
				select {
				case i.merged <- h:
					<-h.taken
				case <-i.gone:
					return
				}
			}
		})
	}
}

func (p *port) read(ds []Datagram) (int, error) {
	const room = 64 // bytes of control messages: IP_PKTINFO and SO_RXQ_OVFL take 56
	ds = ds[:min(len(ds), MaxBatch)]
	for len(p.in) < len(ds) {
		p.in = append(p.in, ipv4.Message{Buffers: make([][]byte, 1), OOB: make([]byte, room)})
	}
	for k := range ds {
		p.in[k].Buffers[0], p.in[k].OOB = ds[k].Payload, p.in[k].OOB[:room]
	}
	n, err := p.batch.ReadBatch(p.in[:len(ds)], 0)
	if err != nil {
		return 0, err
	}
	for k := range n {
		m := &p.in[k]
		d := &ds[k]
		d.Payload, d.Hardware = d.Payload[:m.N], nil
		d.Peer = netip.AddrPort{}
		if u, ok := m.Addr.(*net.UDPAddr); ok {
			a := u.AddrPort()
			d.Peer = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		}
		d.Local = netip.AddrPortFrom(p.control(m.OOB[:m.NN]), p.number)
	}
	return n, nil
}

// control reads the control messages of one message: the address that it was sent
// to, and how many messages were dropped so far.
func (p *port) control(b []byte) (to netip.Addr) {
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return to
		}
		switch {
		case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			to = netip.AddrFrom4([4]byte(data[8:12])) // ip(7): in_pktinfo.ipi_addr
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			p.dropped.Store(binary.NativeEndian.Uint32(data))
		}
		b = rest
	}
	return to
}

// Write sends messages: those with Hardware as frames, the others through their
// port, many at once. failed is called for each that did not leave.
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
		p := i.ports[0]
		for _, other := range i.ports[1:] {
			if ds[k].Local.Port() == other.number {
				p = other
			}
		}
		p.queue(&ds[k], k)
		if len(p.outAt) == MaxBatch {
			p.flush(failed)
		}
	}
	for _, p := range i.ports {
		p.flush(failed)
	}
}

// queue makes a message of a datagram.
func (p *port) queue(d *Datagram, k int) {
	n := len(p.outAt)
	if n == len(p.out) {
		p.out = append(p.out, ipv4.Message{Buffers: make([][]byte, 1)})
		p.outAddr = append(p.outAddr, net.UDPAddr{IP: make(net.IP, 4)})
	}
	a := d.Peer.Addr().Unmap().As4()
	copy(p.outAddr[n].IP, a[:])
	p.outAddr[n].Port = int(d.Peer.Port())
	p.out[n].Buffers[0], p.out[n].OOB = d.Payload, p.source
	p.outAt = append(p.outAt, k)
}

// flush sends what was queued. A message that cannot be sent does not keep back
// those behind it.
func (p *port) flush(failed func(int, error)) {
	for n := range p.outAt { // the addresses may have moved while the slice grew
		p.out[n].Addr = &p.outAddr[n]
	}
	for at := 0; at < len(p.outAt); {
		n, err := p.batch.WriteBatch(p.out[at:len(p.outAt)], 0)
		if at += max(n, 0); err != nil && at < len(p.outAt) {
			failed(p.outAt[at], err)
			at++
		}
	}
	p.outAt = p.outAt[:0]
}

// writeFrame sends one message without asking who has its address.
func (i *Interface) writeFrame(d *Datagram) (err error) {
	if udpHeader+ipv4Header+len(d.Payload) > i.mtu {
		return fmt.Errorf("the message of %d bytes does not fit a frame of interface %s, whose MTU is %d", len(d.Payload), i.name, i.mtu)
	}
	from := d.Local.Port()
	if from == 0 {
		from = ServerPort
	}
	u := UDP{From: i.mac, To: d.Hardware, Source: netip.AddrPortFrom(i.address, from), Target: d.Peer, Payload: d.Payload}
	if i.frame, err = u.AppendFrame(i.frame[:0]); err != nil {
		return err
	}
	_, err = i.raw.WriteTo(i.frame, &packet.Addr{HardwareAddr: d.Hardware})
	return err
}

// Close ends a Read that waits, and gives the ports back.
func (i *Interface) Close() (err error) {
	i.once.Do(func() {
		close(i.gone)
		for _, p := range i.ports {
			err = errors.Join(err, p.conn.Close())
		}
		if i.raw != nil {
			err = errors.Join(err, i.raw.Close())
		}
		i.reads.Wait()
	})
	return err
}
