package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/discovery/wire"
)

// maxReadErrors is how many reads may fail one after the other before Serve
// gives up. A single failed read is no reason to: Linux reports the ICMP errors
// that earlier answers caused on the next read.
const maxReadErrors = 16

// maxStack bounds what OnPanic is given, in bytes.
const maxStack = 4096

// Wire is where packets come from and answers go: one interface of the agent's
// machine, or the loopback of a simulation (wire.Over).
type Wire interface {
	// Read waits for at least one message and fills in as many of ds as there are.
	Read(ds []wire.Datagram) (int, error)
	// Write sends messages; failed is called for each that did not leave. One with
	// Hardware goes to that address without ARP (RFC 2131 section 4.1).
	Write(ds []wire.Datagram, failed func(i int, err error))
	// Close ends a Read that waits.
	Close() error
}

var _ Wire = (*wire.PacketConn)(nil)

// Options of a Server.
type Options struct {
	// Wire is what the server answers on. Serve closes it.
	Wire Wire

	// Table returns the table of this moment; a nil table knows nobody. It is
	// called once for every packet and must not block.
	Table func() Table

	// Ports finds the port that a relay names (option 82) in the cabling of the rack
	// file. Nil: remote-id and circuit-id are taken for switch and port as they are.
	Ports *relay.Ports

	// Leases is where addresses are kept before they are acknowledged. Its owner
	// closes it, after Serve. Nil: they are kept in memory only.
	Leases *lease.Store

	// Mode says what the server is to its network. The zero Mode gives addresses.
	Mode Mode

	// ServerID is the agent's own IPv4 address, option 54 where an entry has
	// none of its own.
	ServerID netip.Addr

	// Authoritative lets the server refuse (DHCPNAK) a client that it has no record
	// of, and that asks for an address to go on with (RFC 2131 section 4.3.2). Only
	// where no other DHCP server is on the segment: two racks of one fabric are.
	Authoritative bool

	// Company says whether servers of other racks of the fleet may be on the segment, and
	// whether one was heard there. Their clients are strangers to us: once they may be
	// there none is refused, whatever Authoritative says, and once one was heard none is
	// given an address of a pool. It must not block. Nil: we are alone.
	Company func() (known, heard bool)

	// OnSeen is told of every packet that could be read, before its answer is sent, and
	// when the lease that the answer rests on is durable. It must not block: everybody
	// else waits for it. The functions of Options are called one after the other. Nil:
	// nobody is told.
	OnSeen func(Seen)

	// Count counts packets by message type (DISCOVER, …, none) and outcome.
	// Nil: nothing is counted.
	Count func(messageType, outcome string)

	// Rules say what vendor strings mean. Nil: those that rackreach comes with.
	Rules *classify.Rules

	// Sleep waits between answers, for a millisecond or two. Nil: time.Sleep.
	Sleep func(time.Duration)

	// OnPanic is told of a panic while a packet was handled, with the stack.
	// Nil: it is only counted.
	OnPanic func(reason any, stack []byte)

	// OnTrouble is told once when leases cannot be written, with what to do, and
	// again when that happens anew after it went well. Nil: it is only counted.
	OnTrouble func(error)
}

// Mode is what a server is to its network.
type Mode int

// The modes. Where a site keeps its own DHCP server, two servers of rackreach stand
// beside it: one with Proxy on port 67, and one with BootServer on port 4011, each on
// a wire of its own. They answer only firmware and iPXE, for slots that have something
// to boot, give no address, and keep no lease (PXE 2.1 section 2.2.3).
const (
	Addresses  Mode = iota // gives addresses, and says what to boot
	Proxy                  // offers boot files beside the site's own server, on port 67
	BootServer             // answers who comes back for one, on port 4011
)

// Server answers DHCP on one wire.
type Server struct {
	options Options
	leases  *lease.Store
	replies *reply.Builder

	mu      sync.Mutex // of who decides, tells or sends, and so of everything below
	turn    *sync.Cond // something waits for a commit, or waits no more, or the loop has ended
	request request    // that is decided about
	repeats repeats
	dry     bool      // a pool had no address for the last client that asked for one
	failing bool      // leases could not be written by the last commit
	waiting group     // for the next commit
	leaving group     // is being committed, or sent
	settled bool      // leaving is committed, or refused
	ended   bool      // no more packets are read
	synced  time.Time // when the last commit was over
	pace    pace
	out     []wire.Datagram // room of a send
	of      []int           // which result an answer of out belongs to
}

// New checks the options. It returns an error when one that is needed is missing.
func New(o Options) (*Server, error) {
	switch {
	case o.Wire == nil:
		return nil, errors.New("start DHCP: Options.Wire is missing")
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
	if o.Sleep == nil {
		o.Sleep = time.Sleep
	}
	if o.OnPanic == nil {
		o.OnPanic = func(any, []byte) {}
	}
	if o.OnTrouble == nil {
		o.OnTrouble = func(error) {}
	}
	s := &Server{options: o, leases: o.Leases, replies: reply.NewBuilder(), repeats: repeats{}}
	s.turn = sync.NewCond(&s.mu)
	if s.leases == nil {
		s.leases = lease.Memory(lease.Options{})
	}
	s.leases.Except(o.ServerID)
	return s, nil
}

// Serve answers packets until ctx ends, and then returns nil, or until reading
// fails for good, and then returns that error. It closes the wire in either case
// and is called once.
func (s *Server) Serve(ctx context.Context) error {
	var closeErr error
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		closeErr = s.options.Wire.Close()
	})
	err := s.loop(ctx)
	if stop() {
		closeErr = s.options.Wire.Close()
	} else {
		<-closed
	}
	if closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("close DHCP socket: %w", closeErr))
	}
	return err
}

// loop reads packets and answers them; leases are made durable beside it.
func (s *Server) loop(ctx context.Context) error {
	var keeper sync.WaitGroup
	if s.leases.Durable() {
		keeper.Go(s.keep)
	}
	defer func() {
		s.mu.Lock()
		s.ended = true
		s.turn.Broadcast()
		s.mu.Unlock()
		keeper.Wait()
	}()
	b := newBatch(s)
	for failed := 0; ; {
		n, err := b.read()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
			s.options.Sleep(b.answer(n, time.Now()))
		default:
			if failed++; errors.Is(err, net.ErrClosed) || failed >= maxReadErrors {
				return fmt.Errorf("read DHCP packet: %w", err)
			}
		}
	}
}
