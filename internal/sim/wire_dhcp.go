package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// Sub-option 19 of option 82: "relay source port" (RFC 8357 §4): the server
// answers the UDP port that the relay sent from.
const relaySourcePort = dhcpv4.GenericOptionCode(19)

const (
	dhcpClientPort = 68
	maxDHCPPacket  = 1500 // bytes: an Ethernet frame's
)

// wires carries DHCP between ends and the agent's server: through the relay of
// the switch at the near end, or over the agent's own cable.
type wires struct {
	sim    *Sim
	server atomic.Pointer[directConn]
	relays map[string]*net.UDPConn // by switch
	direct map[*end]*net.UDPConn

	mu   sync.Mutex
	wait map[waitKey]chan *dhcpv4.DHCPv4
}

type waitKey struct {
	end *end
	xid dhcpv4.TransactionID
}

// directConn is what the agent's DHCP server listens on. What it sends to the
// client port goes onto the agent's own cable, everything else out as it is. The
// socket is not embedded: nothing may write around the cable.
type directConn struct {
	socket *net.UDPConn
	cable  []*net.UDPAddr // the sockets of the ends on it
	closed atomic.Bool
}

// ReadFrom returns the next packet of a relay or of the agent's own cable.
func (d *directConn) ReadFrom(b []byte) (int, net.Addr, error) { return d.socket.ReadFrom(b) }

// Close closes the socket; closing it again does nothing.
func (d *directConn) Close() error {
	d.closed.Store(true)
	return ignoreClosed(d.socket.Close())
}

// LocalAddr is the real socket's.
func (d *directConn) LocalAddr() net.Addr { return d.socket.LocalAddr() }

// SetDeadline bounds reads and writes.
func (d *directConn) SetDeadline(t time.Time) error { return d.socket.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (d *directConn) SetReadDeadline(t time.Time) error { return d.socket.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (d *directConn) SetWriteDeadline(t time.Time) error { return d.socket.SetWriteDeadline(t) }

// WriteTo sends one packet. A broadcast and a unicast to a client's port both
// reach every interface on the agent's own cable, which take what is theirs.
func (d *directConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok || u.Port != dhcpClientPort {
		return d.socket.WriteTo(b, to)
	}
	var errs []error
	for _, end := range d.cable {
		if _, err := d.socket.WriteTo(b, end); err != nil {
			errs = append(errs, err)
		}
	}
	return len(b), errors.Join(errs...)
}

var _ net.PacketConn = (*directConn)(nil)

// openWires opens every socket; on failure none stays open.
func (s *Sim) openWires() (*wires, error) {
	w := &wires{sim: s, relays: map[string]*net.UDPConn{}, direct: map[*end]*net.UDPConn{}, wait: map[waitKey]chan *dhcpv4.DHCPv4{}}
	u, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		return nil, fmt.Errorf("open the agent's DHCP socket: %w", err)
	}
	w.server.Store(&directConn{socket: u})
	n := 0
	for _, d := range s.devices {
		if !d.spec.Role.IsSwitch() {
			continue
		}
		n++
		a := &net.UDPAddr{IP: net.IPv4(127, 2, byte(s.rack.Number), byte(n))}
		c, err := net.ListenUDP("udp4", a)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the DHCP relay of %s at %s: %w", d.spec.Name, a.IP, err), w.close())
		}
		w.relays[d.spec.Name] = c
	}
	for _, e := range s.fabric.ends {
		if !e.direct() {
			continue
		}
		c, err := net.ListenUDP("udp4", loopback())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the DHCP socket of %s: %w", e.device, err), w.close())
		}
		w.direct[e] = c
	}
	w.server.Load().cable = w.cable()
	return w, nil
}

// cable is where the ends on the agent's own cable really listen.
func (w *wires) cable() (out []*net.UDPAddr) {
	for _, c := range w.direct {
		out = append(out, c.LocalAddr().(*net.UDPAddr))
	}
	return out
}

// listen gives the agent's DHCP socket, opened anew on its port when a server
// has closed it.
func (w *wires) listen() (net.PacketConn, error) {
	was := w.server.Load()
	if !was.closed.Load() {
		return was, nil
	}
	u, err := net.ListenUDP("udp4", was.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return nil, fmt.Errorf("open the agent's DHCP socket again: %w", err)
	}
	again := &directConn{socket: u, cable: was.cable}
	w.server.Store(again)
	return again, nil
}

func (w *wires) close() error {
	errs := []error{w.server.Load().Close()}
	for _, c := range w.relays {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	for _, c := range w.direct {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// start reads the sockets until they are closed.
func (w *wires) start() {
	for _, c := range w.relays {
		giaddr := c.LocalAddr().(*net.UDPAddr).IP
		w.sim.spawn(func() {
			w.receive(c, func(p *dhcpv4.DHCPv4) {
				if p.GatewayIPAddr.Equal(giaddr) {
					w.relayed(p)
				}
			})
		})
	}
	for e, c := range w.direct {
		w.sim.spawn(func() {
			w.receive(c, func(p *dhcpv4.DHCPv4) { w.deliver(e, p) })
		})
	}
}

func (w *wires) receive(c *net.UDPConn, handle func(*dhcpv4.DHCPv4)) {
	buf := make([]byte, maxDHCPPacket)
	for {
		n, err := c.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier packet
		}
		if p, err := dhcpv4.FromBytes(buf[:n]); err == nil && p.OpCode == dhcpv4.OpcodeBootReply {
			handle(p)
		}
	}
}

// relayed takes a server's answer to the end that waits for it. Option 82 tells
// the relay the port; it does not reach the client (RFC 3046 §2.1).
func (w *wires) relayed(p *dhcpv4.DHCPv4) {
	info := p.RelayAgentInfo()
	if info == nil {
		return
	}
	device, port := string(info.Get(dhcpv4.AgentRemoteIDSubOption)), string(info.Get(dhcpv4.AgentCircuitIDSubOption))
	p.DeleteOption(dhcpv4.OptionRelayAgentInformation)
	for _, e := range w.sim.fabric.ends {
		if e.near() == (rack.Port{Device: device, Name: port}) {
			w.deliver(e, p)
		}
	}
}

func (w *wires) deliver(e *end, p *dhcpv4.DHCPv4) {
	w.mu.Lock()
	ch := w.wait[waitKey{e, p.TransactionID}]
	w.mu.Unlock()
	if ch == nil || p.ClientHWAddr.String() != e.mac.String() || !w.sim.fabric.pass(e, protoDHCP, toDevice) {
		return
	}
	select {
	case ch <- p:
	default: // the client has more answers than it asked for
	}
}

// send puts a client's packet on the wire.
func (w *wires) send(e *end, p *dhcpv4.DHCPv4) error {
	if !w.sim.fabric.pass(e, protoDHCP, fromDevice) {
		return nil // lost, as on a dark port
	}
	c := w.direct[e]
	if c == nil {
		near := e.near()
		if c = w.relays[near.Device]; c == nil {
			return fmt.Errorf("%s hangs on %s, which relays nothing", e.device, near)
		}
		p.GatewayIPAddr = c.LocalAddr().(*net.UDPAddr).IP
		p.HopCount = 1
		p.UpdateOption(dhcpv4.OptRelayAgentInfo(
			dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte(near.Name)),
			dhcpv4.OptGeneric(dhcpv4.AgentRemoteIDSubOption, []byte(near.Device)),
			dhcpv4.OptGeneric(relaySourcePort, []byte{}),
		))
	}
	to := w.sim.services().DHCP
	if to == nil {
		to = w.server.Load().LocalAddr()
	}
	if _, err := c.WriteTo(p.ToBytes(), to); err != nil {
		return fmt.Errorf("send DHCP packet of %s: %w", e.device, err)
	}
	return nil
}

// exchange is one DHCP transaction: its answers arrive while it is open.
type exchange struct {
	w   *wires
	key waitKey
	ch  chan *dhcpv4.DHCPv4
}

func (w *wires) open(e *end, xid dhcpv4.TransactionID) *exchange {
	x := &exchange{w, waitKey{e, xid}, make(chan *dhcpv4.DHCPv4, 8)}
	w.mu.Lock()
	w.wait[x.key] = x.ch
	w.mu.Unlock()
	return x
}

func (x *exchange) close() {
	x.w.mu.Lock()
	delete(x.w.wait, x.key)
	x.w.mu.Unlock()
}

// errNoAnswer: nobody answered in time.
var errNoAnswer = errors.New("no DHCP answer")

// ask sends a packet and waits for an answer of one of the wanted types.
func (x *exchange) ask(ctx context.Context, p *dhcpv4.DHCPv4, wait time.Duration, want ...dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	if err := x.w.send(x.key.end, p); err != nil {
		return nil, err
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.C:
			return nil, errNoAnswer
		case a := <-x.ch:
			for _, m := range want {
				if a.MessageType() == m {
					return a, nil
				}
			}
		}
	}
}

func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok {
		return netip.Addr{}
	}
	return a
}
