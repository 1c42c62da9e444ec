package bmcscan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Defaults of Options, where a field is zero, and bounds.
const (
	DefaultRate   = 50              // questions a second; a /24 takes 5 s
	DefaultLinger = 2 * time.Second // for the last answers: a BMC under load answers late
	MaxHosts      = 4096            // addresses of one scan: more is no rack's network
	rounds        = 2               // times that each address is asked: UDP loses
	maxReadErrors = 16              // reads that may fail one after the other
)

// Options of a scan. Conn and Range must be set.
type Options struct {
	Conn  net.PacketConn // UDP, on the management network; Scan does not close it
	Range netip.Prefix   // IPv4

	// Skip reports whether an address is not to be asked: our own, or one that is
	// known already. Nil: all are asked.
	Skip func(netip.Addr) bool

	Rate   int // questions a second
	Linger time.Duration
}

// Answer is a BMC that answered.
type Answer struct {
	Address netip.Addr
	IPMI    bool   // it says that it speaks IPMI
	Maker   uint32 // IANA enterprise number; 0: it does not say
}

// TooLargeError says that only a part of a network is scanned.
type TooLargeError struct {
	Range netip.Prefix
	First netip.Addr
	Last  netip.Addr
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s has more than %d addresses: only %s to %s are asked for BMCs", e.Range, MaxHosts, e.First, e.Last)
}

// Scan asks every address of the range twice and calls found for each that answers,
// once. It returns nil when it is through or ctx ended, a *TooLargeError after it has
// scanned what it may of a large network, or why it could not go on.
func Scan(ctx context.Context, o Options, found func(Answer)) error {
	if !o.Range.IsValid() || !o.Range.Addr().Is4() {
		return fmt.Errorf("scan for BMCs: %s is no IPv4 network", o.Range)
	}
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Linger <= 0 {
		o.Linger = DefaultLinger
	}
	hosts, large := hostsOf(o.Range)
	s := &scan{o: o, tag: byte(rand.N(255)), asked: map[netip.Addr]bool{}, found: found}
	for _, a := range hosts {
		if o.Skip == nil || !o.Skip(a) {
			s.asked[a] = true
		}
	}
	// A deadline in the past ends a read; one that is left over is taken away.
	if err := o.Conn.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("scan for BMCs: %w", err)
	}
	heard := make(chan error, 1)
	go func() { heard <- s.hear() }()
	err := s.ask(ctx, hosts)
	err = errors.Join(err, o.Conn.SetReadDeadline(time.Unix(1, 0)), <-heard)
	if err == nil && large != nil {
		return large
	}
	return err
}

// hostsOf are the addresses of a network that a machine can have.
func hostsOf(p netip.Prefix) (hosts []netip.Addr, large error) {
	p = p.Masked()
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		if len(hosts) == MaxHosts+1 {
			break
		}
		hosts = append(hosts, a)
	}
	if p.Bits() < 31 && len(hosts) <= MaxHosts {
		hosts = hosts[1 : len(hosts)-1] // not the network's own, nor its broadcast
	} else if len(hosts) > MaxHosts {
		hosts = hosts[1:]
		large = &TooLargeError{p, hosts[0], hosts[len(hosts)-1]}
	}
	return hosts, large
}

type scan struct {
	o     Options
	tag   byte
	asked map[netip.Addr]bool // not changed while somebody hears
	found func(Answer)
}

// ask sends the questions, and then waits for the last answers.
func (s *scan) ask(ctx context.Context, hosts []netip.Addr) error {
	q := ping(s.tag)
	tick := time.NewTicker(time.Second / time.Duration(s.o.Rate))
	defer tick.Stop()
	failed := 0
	for range rounds {
		for _, a := range hosts {
			if !s.asked[a] {
				continue
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			// An address without a way to it is no reason to leave out the others;
			// when nothing at all leaves, the link is down.
			if _, err := s.o.Conn.WriteTo(q, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, Port))); err == nil {
				failed = 0
			} else if failed++; failed >= maxReadErrors {
				return fmt.Errorf("scan for BMCs: ask %s: %w", a, err)
			}
		}
	}
	late := time.NewTimer(s.o.Linger)
	defer late.Stop()
	select {
	case <-ctx.Done():
	case <-late.C:
	}
	return nil
}

// hear reads answers until the read deadline is set.
func (s *scan) hear() error {
	told := map[netip.Addr]bool{}
	b := make([]byte, maxPong+1)
	for failed := 0; ; {
		n, from, err := s.o.Conn.ReadFrom(b)
		if err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				return nil
			}
			if failed++; errors.Is(err, net.ErrClosed) || failed >= maxReadErrors {
				return fmt.Errorf("scan for BMCs: %w", err)
			}
			continue
		}
		failed = 0
		u, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		at := u.AddrPort()
		a := at.Addr().Unmap()
		maker, isIPMI, ok := readPong(b[:n], s.tag)
		if !ok || at.Port() != Port || !s.asked[a] || told[a] { // nobody speaks for another
			continue
		}
		told[a] = true
		if maker == enterprise {
			maker = 0 // section 13.2.4: its own number where no maker's own abilities are told
		}
		s.found(Answer{a, isIPMI, maker})
	}
}
