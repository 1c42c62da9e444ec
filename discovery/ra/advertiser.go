package ra

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// Times (RFC 4861 sections 6.2.1 and 10).
const (
	MaxInterval   = 600 * time.Second      // MaxRtrAdvInterval
	MinInterval   = MaxInterval / 3        // MinRtrAdvInterval
	MinDelay      = 3 * time.Second        // MIN_DELAY_BETWEEN_RAS
	MaxAnswer     = 500 * time.Millisecond // MAX_RA_DELAY_TIME
	maxReadErrors = 16                     // reads that may fail one after the other
	initial       = 3                      // MAX_INITIAL_RTR_ADVERTISEMENTS
	initialMost   = 16 * time.Second       // MAX_INITIAL_RTR_ADVERT_INTERVAL
)

// ErrNoAddress: the interface has no IPv6 address of its own link, from which alone
// an advertisement may come (RFC 4861 section 4.2).
var ErrNoAddress = errors.New("it has no usable IPv6 link-local address")

// Conn sends and hears messages of neighbour discovery, such as an *ndp.Conn.
type Conn interface {
	ReadFrom() (ndp.Message, *ipv6.ControlMessage, netip.Addr, error)
	WriteTo(ndp.Message, *ipv6.ControlMessage, netip.Addr) error
	Close() error
}

var _ Conn = (*ndp.Conn)(nil)

// Advertiser advertises on one link.
type Advertiser struct {
	conn Conn
	mac  net.HardwareAddr

	// Sent is told of every advertisement, and whether it was asked for. Nil: nobody
	// is told. Set it before Run.
	Sent func(asked bool, err error)
}

// Open opens an interface. It needs CAP_NET_RAW.
//
// Errors: ErrNoAddress, wrapped; permission; no such interface.
func Open(name string) (*Advertiser, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("advertise on interface %s: %w", name, err)
	}
	if !hasLinkLocal(link) {
		return nil, fmt.Errorf("advertise on interface %s: %w: sysctl net.ipv6.conf.%s.disable_ipv6=0", name, ErrNoAddress, name)
	}
	conn, _, err := ndp.Listen(link, ndp.LinkLocal)
	if err != nil {
		return nil, fmt.Errorf("advertise on interface %s: %w", name, err)
	}
	if err := prepare(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("advertise on interface %s: %w", name, err), conn.Close())
	}
	return New(conn, link.HardwareAddr), nil
}

func hasLinkLocal(link *net.Interface) bool {
	addrs, err := link.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// prepare hears solicitations only, and how far they came.
func prepare(conn *ndp.Conn) error {
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterSolicitation)
	return errors.Join(conn.SetICMPFilter(&f), conn.SetControlMessage(ipv6.FlagHopLimit, true), conn.JoinGroup(netip.IPv6LinkLocalAllRouters()))
}

// New advertises over any connection, which it owns from then on.
func New(conn Conn, mac net.HardwareAddr) *Advertiser { return &Advertiser{conn: conn, mac: mac} }

// Run advertises until ctx ends, and then returns nil, or until reading fails for
// good. It closes the connection and is called once.
func (a *Advertiser) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan struct{}, 1)
	read := make(chan error, 1)
	go func() { defer cancel(); read <- a.read(ctx, asked) }()
	a.send(ctx, asked)
	// A conversation that is over is not waited for.
	closeErr := a.conn.Close()
	return errors.Join(<-read, closeErr)
}

// read hears solicitations. Those that nobody has come to yet are one.
func (a *Advertiser) read(ctx context.Context, asked chan<- struct{}) error {
	for failed := 0; ; {
		m, cm, _, err := a.conn.ReadFrom()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if failed++; errors.Is(err, net.ErrClosed) || failed >= maxReadErrors {
				return fmt.Errorf("hear router solicitations: %w", err)
			}
			continue
		}
		failed = 0
		// RFC 4861 section 6.1.1: what came from farther than this link is forged.
		if _, ok := m.(*ndp.RouterSolicitation); !ok || cm == nil || cm.HopLimit != ndp.HopLimit {
			continue
		}
		select {
		case asked <- struct{}{}:
		default:
		}
	}
}

// send sends what is due until ctx ends.
func (a *Advertiser) send(ctx context.Context, asked <-chan struct{}) {
	due := time.NewTimer(0)
	defer due.Stop()
	var last time.Time
	answer := false
	for sent := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			if answer {
				continue // it is due already
			}
			answer = true
			wait := rand.N(MaxAnswer)
			if !last.IsZero() {
				wait = max(wait, time.Until(last.Add(MinDelay)))
			}
			due.Reset(wait)
		case <-due.C:
			err := a.conn.WriteTo(a.advertisement(), nil, netip.IPv6LinkLocalAllNodes())
			if a.Sent != nil {
				a.Sent(answer, err)
			}
			last, answer = time.Now(), false
			next := MinInterval + rand.N(MaxInterval-MinInterval)
			if sent++; sent < initial {
				next = min(next, initialMost)
			}
			due.Reset(next)
		}
	}
}

// advertisement says that nobody is a router here (RFC 4861 section 4.2).
func (a *Advertiser) advertisement() *ndp.RouterAdvertisement {
	return &ndp.RouterAdvertisement{
		RouterLifetime: 0, // no default router
		Options:        []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: a.mac}},
	}
}
