package tftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// How a transfer failed, for Ended.
var (
	ErrAborted = errors.New("the client broke the transfer off")
	ErrSilent  = errors.New("the client does not answer any more")
	ErrLate    = errors.New("the transfer took too long")
	ErrCut     = errors.New("the server was shut down")
)

// ErrNotFound is what Open returns for a name that it does not serve. The client
// is told its text, and that of what wraps it.
var ErrNotFound = errors.New("no such file")

// errBroadcast says that a request was broadcast, which is ignored (RFC 1123 §4.2.3.5).
var errBroadcast = errors.New("it was asked by broadcast")

// errBusy is told to clients that come when the server is full.
var errBusy = errors.New("too many transfers, ask again")

// File is what a client is sent.
type File struct {
	io.ReaderAt
	Size int64 // bytes
	// Ended is called once, when nothing is read any more: err is nil when the
	// client has acknowledged every byte, and bytes is how many it acknowledged.
	Ended func(bytes int64, err error)
}

// Options are what a server needs.
type Options struct {
	// Open gives the file of a name that a client at that address asks for. It is
	// called from many goroutines. Its error is logged; the client is told of
	// ErrNotFound, and of anything else that it went wrong.
	Open func(name string, client netip.AddrPort) (*File, error)
	// Refused is told of a request that was answered by an error before Open
	// was asked; nil: nobody is.
	Refused func(client netip.AddrPort, err error)
	Log     *slog.Logger  // nil: nothing is logged
	Drain   time.Duration // for transfers at the end; 0: DefaultDrain

	// dial connects a socket of its own to a client. Tests replace it.
	dial func(from netip.Addr, to netip.AddrPort) (socket, error)
}

// Server serves files. See the package comment.
type Server struct {
	o Options

	mu     sync.Mutex
	active map[netip.AddrPort]*place
	hosts  map[netip.Addr]int // transfers of each address; no zeros
}

// New makes a server; nothing is served before Serve.
func New(o Options) *Server {
	if o.Refused == nil {
		o.Refused = func(netip.AddrPort, error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	if o.dial == nil {
		o.dial = dialUDP
	}
	return &Server{o: o, active: map[netip.AddrPort]*place{}, hosts: map[netip.Addr]int{}}
}

// Serve answers requests on a socket until ctx ends, which is no error, or the
// socket fails. It closes the socket, and returns when all transfers have ended:
// those under way at the end of ctx get Options.Drain. A *net.UDPConn answers from
// the address that was asked.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	cut, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var transfers sync.WaitGroup
	err := s.read(cut, conn, &transfers)
	if ctx.Err() != nil {
		err = nil // the socket was closed for this
	} else {
		err = errors.Join(err, conn.Close())
	}
	late := time.AfterFunc(s.o.Drain, cutOff)
	defer late.Stop()
	transfers.Wait()
	return err
}

// asker reads requests, and which address of ours they came to.
type asker interface {
	read(p []byte) (n int, from netip.AddrPort, to netip.Addr, err error)
}

// read reads requests until the socket fails.
func (s *Server) read(ctx context.Context, conn net.PacketConn, transfers *sync.WaitGroup) error {
	from := newAsker(conn)
	p := make([]byte, maxRequest)
	for {
		n, client, own, err := from.read(p)
		if err != nil {
			return fmt.Errorf("read requests: %w", err)
		}
		r, err := parseRequest(p[:n])
		if errors.Is(err, errIgnore) || client.Port() == 0 || own.IsMulticast() {
			continue
		}
		var at *place
		transfer := ctx
		if err == nil {
			if transfer, at, err = s.take(ctx, client, time.Now()); errors.Is(err, errAgain) {
				continue
			}
		}
		if err != nil {
			s.refuse(own, client, err)
			continue
		}
		transfers.Go(func() {
			defer s.leave(client, at)
			s.serve(transfer, at, r, own, client)
		})
	}
}

// errAgain says that the same request came twice: the transfer is under way, and
// sends its first packet again by itself.
var errAgain = errors.New("asked already")

// take takes a place for a client; the context ends with it. Errors: errAgain, errBusy.
//
// A client that has acknowledged something, is silent since, and asks anew was reset, and
// begins from the port that it always begins from: what it was sent is over. When all
// places are taken, who has never answered makes room: addresses of askers can be made up.
func (s *Server) take(ctx context.Context, client netip.AddrPort, now time.Time) (context.Context, *place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.active[client]; ok {
		if !old.reset() {
			return nil, nil, errAgain
		}
		s.free(client, old)
	}
	if s.hosts[client.Addr()] == maxPerHost {
		return nil, nil, errBusy
	}
	if len(s.active) >= maxTransfers && !s.makeRoom() {
		return nil, nil, errBusy
	}
	x := &place{since: now}
	ctx, x.end = context.WithCancelCause(ctx)
	s.active[client] = x
	s.hosts[client.Addr()]++
	return ctx, x, nil
}

// makeRoom ends the transfer that waits longest for its first answer.
func (s *Server) makeRoom() bool {
	var at netip.AddrPort
	var oldest *place
	for client, x := range s.active {
		if !x.heard.Load() && (oldest == nil || x.since.Before(oldest.since)) {
			at, oldest = client, x
		}
	}
	if oldest == nil {
		return false
	}
	s.free(at, oldest)
	return true
}

func (s *Server) leave(client netip.AddrPort, x *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(client, x)
}

// free gives a place to others, once. A transfer that goes on there ends, as if its client
// were silent: that is told nothing, or would take it for the answer to what it asks now.
// Callers hold mu.
func (s *Server) free(client netip.AddrPort, x *place) {
	if s.active[client] != x {
		return
	}
	x.end(ErrSilent)
	delete(s.active, client)
	if s.hosts[client.Addr()]--; s.hosts[client.Addr()] == 0 {
		delete(s.hosts, client.Addr())
	}
}

// refuse tells a client that it gets nothing.
func (s *Server) refuse(own netip.Addr, client netip.AddrPort, err error) {
	c, dialErr := s.o.dial(own, client)
	if errors.Is(dialErr, errBroadcast) {
		return
	}
	s.o.Refused(client, err)
	if dialErr != nil {
		s.o.Log.Debug("tftp: a client cannot be told that it is refused", "client", client, "cause", dialErr)
		return
	}
	s.tell(c, client, err)
	_ = c.Close()
}

// tell sends a client an error.
func (s *Server) tell(c socket, client netip.AddrPort, err error) {
	code, text := uint16(codeOther), "it cannot be served, see the log of the agent"
	switch {
	case errors.Is(err, ErrNotFound):
		code, text = codeNotFound, err.Error()
	case errors.Is(err, errWrite), errors.Is(err, errForm), errors.Is(err, errMode):
		code, text = codeIllegal, err.Error()
	case errors.Is(err, errBusy), errors.Is(err, ErrLate), errors.Is(err, ErrCut):
		text = err.Error()
	}
	if err := c.send([][]byte{errorPacket(code, text)}, nil); err != nil {
		s.o.Log.Debug("tftp: a client cannot be told what went wrong", "client", client, "cause", err)
	}
}

// newAsker reads from any socket. Only UDP sockets can say which address a
// request came to; where the kernel does not, it is the socket's own.
func newAsker(conn net.PacketConn) asker {
	a := plainAsker{conn}
	u, ok := conn.(*net.UDPConn)
	if !ok {
		return a
	}
	if err := ipv4.NewPacketConn(u).SetControlMessage(ipv4.FlagDst, true); err != nil {
		return a
	}
	return &udpAsker{conn: u, own: a.own(), control: make([]byte, 64)}
}

type plainAsker struct{ net.PacketConn }

// own is the address that the socket is bound to; none when it is bound to all.
func (a plainAsker) own() netip.Addr {
	if p, ok := a.LocalAddr().(*net.UDPAddr); ok {
		if ip := p.AddrPort().Addr().Unmap(); !ip.IsUnspecified() {
			return ip
		}
	}
	return netip.Addr{}
}

func (a plainAsker) read(p []byte) (int, netip.AddrPort, netip.Addr, error) {
	n, from, err := a.ReadFrom(p)
	if err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err
	}
	u, ok := from.(*net.UDPAddr)
	if !ok {
		return 0, netip.AddrPort{}, netip.Addr{}, fmt.Errorf("a request came from %s, which is no UDP address", from)
	}
	return n, unmapped(u.AddrPort()), a.own(), nil
}

type udpAsker struct {
	conn    *net.UDPConn
	own     netip.Addr
	control []byte
}

func (a *udpAsker) read(p []byte) (int, netip.AddrPort, netip.Addr, error) {
	n, c, _, from, err := a.conn.ReadMsgUDPAddrPort(p, a.control)
	if err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err
	}
	own := a.own
	var m ipv4.ControlMessage
	if m.Parse(a.control[:c]) == nil {
		if ip, ok := netip.AddrFromSlice(m.Dst.To4()); ok {
			own = ip
		}
	}
	return n, unmapped(from), own, nil
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
