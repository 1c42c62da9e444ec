package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"

	"github.com/rackreach/rackreach/discovery/classify"
)

// maxReadErrors is how many reads may fail one after the other before Serve
// gives up. A single failed read is no reason to: Linux reports the ICMP errors
// that earlier answers caused on the next read.
const maxReadErrors = 16

// maxStack bounds what OnPanic is given, in bytes.
const maxStack = 4096

// Options of a Server.
type Options struct {
	// Conn is where packets come from and answers go. An answer to a client
	// that has no address yet is sent to yiaddr:68 (RFC 2131 section 4.1); on a
	// real network it is the connection's task to deliver that without ARP.
	// Serve closes it.
	Conn net.PacketConn

	// Table returns the table of this moment; a nil table knows nobody. It is
	// called once for every packet and must not block.
	Table func() Table

	// ServerID is the agent's own IPv4 address, option 54 where an entry has
	// none of its own.
	ServerID netip.Addr

	// OnSeen is told of every packet that could be read, after its answer was
	// sent. It must not block: the next packet waits for it. Nil: nobody is told.
	OnSeen func(Seen)

	// Count counts packets by message type (DISCOVER, …, none) and outcome.
	// Nil: nothing is counted.
	Count func(messageType, outcome string)

	// Rules say what vendor strings mean. Nil: those that rackreach comes with.
	Rules *classify.Rules

	// OnPanic is told of a panic while a packet was handled, with the stack.
	// Nil: it is only counted.
	OnPanic func(reason any, stack []byte)
}

// Server answers DHCP on one connection.
type Server struct {
	options Options
}

// New checks the options. It returns an error when one that is needed is missing.
func New(o Options) (*Server, error) {
	switch {
	case o.Conn == nil:
		return nil, errors.New("start DHCP: Options.Conn is missing")
	case o.Table == nil:
		return nil, errors.New("start DHCP: Options.Table is missing")
	case !usable(o.ServerID):
		return nil, fmt.Errorf("start DHCP: Options.ServerID is %s; it must be the agent's own IPv4 address", o.ServerID)
	}
	if o.OnSeen == nil {
		o.OnSeen = func(Seen) {}
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	if o.Rules == nil {
		o.Rules = classify.Default()
	}
	if o.OnPanic == nil {
		o.OnPanic = func(any, []byte) {}
	}
	return &Server{options: o}, nil
}

// Serve answers packets until ctx ends, and then returns nil, or until reading
// fails for good, and then returns that error. It closes the connection in
// either case and is called once.
func (s *Server) Serve(ctx context.Context) error {
	var closeErr error
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		closeErr = s.options.Conn.Close()
	})
	err := s.loop(ctx)
	if stop() {
		closeErr = s.options.Conn.Close()
	} else {
		<-closed
	}
	if closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("close DHCP socket: %w", closeErr))
	}
	return err
}

func (s *Server) loop(ctx context.Context) error {
	buf := make([]byte, MaxPacket+1)
	for failed := 0; ; {
		n, from, err := s.options.Conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
			s.one(buf[:n], from)
		default:
			if failed++; errors.Is(err, net.ErrClosed) || failed >= maxReadErrors {
				return fmt.Errorf("read DHCP packet: %w", err)
			}
		}
	}
}

// one handles a packet, sends the answer, counts and reports. A panic in any of
// these costs this packet only.
func (s *Server) one(packet []byte, from net.Addr) {
	message := noMessage
	defer func() {
		if reason := recover(); reason != nil {
			stack := debug.Stack()
			s.options.Count(message, string(Panicked))
			s.options.OnPanic(reason, stack[:min(len(stack), maxStack)])
		}
	}()
	res := s.Handle(packet, from)
	message = res.Message
	// First the word, then the answer: what the device does with the answer, and
	// lets others observe, comes behind it. An answer that does not leave is like
	// one that is lost on the way, which nobody can tell: the device asks again.
	if res.Seen != nil {
		s.options.OnSeen(*res.Seen)
	}
	outcome := res.Outcome
	if res.Reply != nil {
		if _, err := s.options.Conn.WriteTo(res.Reply, res.To); err != nil {
			outcome = SendFailed
		}
	}
	s.options.Count(message, string(outcome))
	if res.Truncated {
		s.options.Count(message, string(Truncated))
	}
}
