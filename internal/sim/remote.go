package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// reconnectLimit bounds telling the rack of a DHCP socket that had to move.
const reconnectLimit = 5 * time.Second

// ErrNobody says that there is no rack behind a socket. It is wrapped.
var ErrNobody = errors.New("nobody serves a simulated rack")

// Remote is a simulated rack in another process, as its agent sees it. Its
// methods are safe for concurrent use.
type Remote struct {
	Hello // what the rack says of itself

	path    string
	session int
	cable   []*net.UDPAddr
	joined  *framed // open for as long as the agent lives
	gone    chan struct{}

	mu        sync.Mutex
	dhcp      *directConn // last one opened; nil: none yet
	connected bool
	services  Services // as they were told last
	closed    bool
}

// Join joins the simulated rack that serves at a unix socket. The rack takes
// back everything it gave when the Remote is closed or the process ends.
func Join(ctx context.Context, path string) (*Remote, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	r := &Remote{path: path, gone: make(chan struct{})}
	f, a, err := r.ask(ctx, request{Op: opJoin, PID: os.Getpid()})
	if err != nil {
		return nil, fmt.Errorf("join the simulated rack: %w", err)
	}
	if a.Hello == nil {
		return nil, errors.Join(fmt.Errorf("join the simulated rack at %s: what serves there is none: name another socket", path), f.Close())
	}
	r.Hello, r.session, r.joined = *a.Hello, a.Session, f
	for _, to := range a.Cable {
		r.cable = append(r.cable, net.UDPAddrFromAddrPort(to))
	}
	go func() {
		defer close(r.gone)
		f.receive() // nothing comes: this is the rack's end, or ours
	}()
	return r, nil
}

// Look is what the simulated rack that serves at a unix socket says of itself.
func Look(ctx context.Context, path string) (Hello, error) {
	r, err := Join(ctx, path)
	if err != nil {
		return Hello{}, err
	}
	return r.Hello, r.Close()
}

// SwapAt has the simulated rack that serves at a unix socket plug two data cables of servers
// the other way round, as Sim.Swap does.
func SwapAt(ctx context.Context, path string, x Swap) error {
	if err := checkSocketPath(path); err != nil {
		return err
	}
	f, _, err := (&Remote{path: path}).ask(ctx, request{Op: opSwap, Swap: x.String()})
	if err != nil {
		return err
	}
	return f.Close()
}

// Done is closed when the rack has gone, and after Close.
func (r *Remote) Done() <-chan struct{} { return r.gone }

// ask opens a connection for one purpose and waits for the rack's answer. It
// takes as long as the rack does; ctx ends it.
func (r *Remote) ask(ctx context.Context, q request) (*framed, answer, error) {
	var d net.Dialer
	var a answer
	c, err := d.DialContext(ctx, "unix", r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, a, fmt.Errorf("%w at %s: start one with rackreach simulated-rack FILE: %w", ErrNobody, r.path, err)
	case err != nil:
		return nil, a, err
	}
	f := newFramed(c)
	q.Version, q.Session = protocolVersion, r.session
	stop := context.AfterFunc(ctx, func() { f.Close() })
	err = f.say(q)
	if err == nil {
		err = f.hear(&a)
	}
	switch {
	case !stop():
		err = ctx.Err() // whatever the closed connection says
	case err != nil:
		err = fmt.Errorf("the simulated rack at %s went away: %w: %w", r.path, err, net.ErrClosed)
	case a.Error != "":
		err = errors.New(a.Error)
	default:
		return f, a, nil
	}
	return nil, a, errors.Join(err, ignoreClosed(f.Close()))
}

// Dial connects the agent to a device, as Sim.Dial does.
func (r *Remote) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, stream, err := logical(network, address)
	if err != nil {
		return nil, err
	}
	f, a, err := r.ask(ctx, request{Op: opDial, Network: network, Address: address})
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("dial %s: no answer: nothing at that address, or no path of forwarding switches to it: %w", to, err)
	}
	if err != nil {
		return nil, err
	}
	if stream {
		return &remoteConn{framed: f, stream: true, local: net.TCPAddrFromAddrPort(a.Local), peer: net.TCPAddrFromAddrPort(to)}, nil
	}
	return &remoteConn{framed: f, local: net.UDPAddrFromAddrPort(a.Local), peer: net.UDPAddrFromAddrPort(to)}, nil
}

// Connect tells the rack where the agent's services really listen. Services of
// an agent that died are replaced; another agent that is alive is an error. A
// DHCP address that is nil is that of ListenDHCP.
func (r *Remote) Connect(ctx context.Context, v Services) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connect(ctx, v)
}

// connect is Connect. r.mu is held, so that the last word is the last one told.
func (r *Remote) connect(ctx context.Context, v Services) error {
	if v.DHCP == nil && r.dhcp != nil {
		v.DHCP = r.dhcp.LocalAddr()
	}
	q := request{Op: opServices}
	for _, x := range []struct {
		what string
		from net.Addr
		to   *netip.AddrPort
	}{{"DHCP", v.DHCP, &q.DHCP}, {"TFTP", v.TFTP, &q.TFTP}, {"HTTP", v.HTTP, &q.HTTP}} {
		if x.from == nil {
			continue
		}
		if *x.to = addrPort(x.from); !x.to.IsValid() {
			return fmt.Errorf("connect the %s service to the simulated rack: %s is no address of a socket", x.what, x.from)
		}
	}
	f, _, err := r.ask(ctx, q)
	if err != nil {
		return fmt.Errorf("connect the agent's services to the simulated rack: %w", err)
	}
	r.connected, r.services = true, v
	return f.Close()
}

// ListenDHCP opens what the agent's DHCP server listens on: a UDP socket on
// 127.0.0.1, and the agent's own cable, as Sim.ListenDHCP. Once closed it may be
// opened again, on the same port if that is still free; else the rack is told.
func (r *Remote) ListenDHCP() (net.PacketConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("open the agent's DHCP socket: the agent has left the simulated rack: %w", net.ErrClosed)
	}
	if r.dhcp != nil && !r.dhcp.closed.Load() {
		return r.dhcp, nil
	}
	var u *net.UDPConn
	err := errors.New("never opened")
	if r.dhcp != nil {
		u, err = net.ListenUDP("udp4", r.dhcp.LocalAddr().(*net.UDPAddr))
	}
	if err != nil {
		if u, err = net.ListenUDP("udp4", loopback()); err != nil {
			return nil, fmt.Errorf("open the agent's DHCP socket: %w", err)
		}
	}
	moved := r.connected && (r.services.DHCP == nil || r.services.DHCP.String() != u.LocalAddr().String())
	r.dhcp = &directConn{socket: u, cable: r.cable}
	if !moved {
		return r.dhcp, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), reconnectLimit)
	defer cancel()
	v := r.services
	v.DHCP = u.LocalAddr()
	if err := r.connect(ctx, v); err != nil {
		return nil, errors.Join(err, r.dhcp.Close())
	}
	return r.dhcp, nil
}

// Close leaves the rack: the agent's connections to devices are reset, and
// devices find no services any more. It may be called again.
func (r *Remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.joined.Close()
	<-r.gone
	if r.dhcp != nil {
		err = errors.Join(err, r.dhcp.Close())
	}
	return err
}
