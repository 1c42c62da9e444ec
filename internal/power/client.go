package power

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/command/app"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Dial opens the wire to a BMC: network is "udp", address "host:port" as the
// rack file knows it.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Port is where BMCs listen (RMCP, IPMI 2.0 §13.1.2).
const Port = 623

// Defaults of Options, used where a field is zero.
const (
	// DefaultTimeout is how long one datagram's answer is waited for, and
	// DefaultRetries how often it is repeated then: the values of ipmitool.
	DefaultTimeout = time.Second
	DefaultRetries = 4
	// DefaultSettle is how long a change of power may take to show; Ironic
	// waits as long.
	DefaultSettle = time.Minute
	// DefaultPoll is the pause between two looks at the power state: faster
	// polling crashes some BMCs (Ironic's min_command_interval).
	DefaultPoll = 5 * time.Second
	// DefaultMaxSessions bounds the BMCs talked to at once: a full rack, with
	// room to spare.
	DefaultMaxSessions = 64
)

const (
	// sessionLimit bounds one session. It is shorter than the 30 s after which
	// the library starts to send commands of its own.
	sessionLimit = 25 * time.Second
	// closeLimit bounds the farewell; a BMC that misses it drops the session
	// by itself after 60 s (§6.12.15).
	closeLimit = 2 * time.Second

	maxUser     = 16 // bytes of a user name (§22.28)
	maxPassword = 20 // bytes of a password (§22.30)
)

// Target is one BMC and how to log in to it.
type Target struct {
	Device         string // slot, for messages
	Address        netip.Addr
	Port           uint16 // 0: Port
	User, Password string
}

func (t Target) addrPort() netip.AddrPort {
	if t.Port == 0 {
		return netip.AddrPortFrom(t.Address, Port)
	}
	return netip.AddrPortFrom(t.Address, t.Port)
}

// String names the target without its secrets.
func (t Target) String() string { return t.Device + " at " + t.addrPort().String() }

// GoString keeps the password out of %#v.
func (t Target) GoString() string { return t.String() }

// Options are what a Client needs. Dial is required.
type Options struct {
	Dial        Dial
	Timeout     time.Duration // of one datagram's answer
	Retries     int           // of one datagram; negative: none
	Settle      time.Duration // until a power change shows
	Poll        time.Duration // between two looks at the power state
	MaxSessions int
}

// Client talks to BMCs. See the package comment.
type Client struct {
	o     Options
	slots chan struct{} // bounds sessions

	mu   sync.Mutex
	busy map[netip.AddrPort]*turn // BMCs with a caller, or with callers waiting
}

// turn is the right to talk to one BMC.
type turn struct {
	hold chan struct{} // holds one token while somebody talks
	refs int           // callers that hold or wait; guarded by Client.mu
}

// New makes a client. It fails only without a dialer.
func New(o Options) (*Client, error) {
	if o.Dial == nil {
		return nil, errors.New("power: no dialer given")
	}
	set(&o.Timeout, DefaultTimeout)
	set(&o.Settle, DefaultSettle)
	set(&o.Poll, DefaultPoll)
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	o.Retries = max(o.Retries, 0)
	if o.MaxSessions <= 0 {
		o.MaxSessions = DefaultMaxSessions
	}
	return &Client{o: o, slots: make(chan struct{}, o.MaxSessions), busy: map[netip.AddrPort]*turn{}}, nil
}

func set(d *time.Duration, to time.Duration) {
	if *d <= 0 {
		*d = to
	}
}

// Info is what a BMC says about itself and its host.
type Info struct {
	GUID           string // 32 lower hex digits, in the order of the wire
	PowerOn        bool
	ManufacturerID uint32 // IANA enterprise number
	ProductID      uint16
}

// Probe asks whether a BMC is there. It returns its GUID as 32 lower hex digits
// in the order of the wire (§22.14). No login is needed for that by the
// standard; a BMC that wants one is logged in to.
//
// Errors: as Login.
func (c *Client) Probe(ctx context.Context, t Target) (string, error) {
	const asked = "say who it is"
	var guid string
	ask := func(ctx context.Context, s *session) (err error) {
		guid, err = s.guid(ctx)
		return err
	}
	err := c.talk(ctx, t, asked, false, ask)
	if errors.Is(err, ErrRefused) {
		err = c.talk(ctx, t, asked, true, ask)
	}
	return guid, err
}

// Login logs in and asks for GUID, power state and maker.
//
// Errors: ErrSilent, ErrLogin, ErrRefused, ErrBadInput, ErrCanceled, as an
// *Error.
func (c *Client) Login(ctx context.Context, t Target) (Info, error) {
	var out Info
	err := c.talk(ctx, t, "let us log in", true, func(ctx context.Context, s *session) error {
		guid, err := s.guid(ctx)
		if err != nil {
			return err
		}
		on, err := s.powerOn(ctx)
		if err != nil {
			return err
		}
		id, err := s.c.GetDeviceID(ctx)
		if err != nil {
			return s.refused(types.CommandGetDeviceID, err)
		}
		out = Info{GUID: guid, PowerOn: on, ManufacturerID: id.ManufacturerID, ProductID: id.ProductID}
		return nil
	})
	return out, err
}

// guid reads the system GUID; a BMC without that command has said it in RAKP
// message 2 (§13.21).
func (s *session) guid(ctx context.Context) (string, error) {
	var r *app.GetSystemGUIDResponse
	r, err := s.c.GetSystemGUID(ctx)
	if err == nil {
		return hex.EncodeToString(r.GUID[:]), nil
	}
	if err = s.refused(types.CommandGetSystemGUID, err); !errors.As(err, new(*refusal)) {
		return "", err
	}
	if b, _ := s.g.seen(); len(b) == 16 {
		return hex.EncodeToString(b), nil
	}
	return "", err
}

// powerOn reads the power state (§28.2).
func (s *session) powerOn(ctx context.Context) (bool, error) {
	r, err := s.c.GetChassisStatus(ctx)
	if err != nil {
		return false, s.refused(types.CommandGetChassisStatus, err)
	}
	return r.PowerIsOn, nil
}

// valid checks what the library would refuse, or cut off, much later.
func (t Target) valid() error {
	switch {
	case !t.Address.IsValid():
		return errors.New("it has no address")
	case len(t.User) > maxUser:
		return fmt.Errorf("its user name has %d bytes, IPMI knows %d", len(t.User), maxUser)
	case len(t.Password) > maxPassword:
		return fmt.Errorf("its password has %d bytes, IPMI knows %d", len(t.Password), maxPassword)
	}
	return nil
}
