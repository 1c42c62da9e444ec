package power

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bougou/go-ipmi/pkg/command/app"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
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
	// DefaultSoft is how long a host may take to shut itself down before its
	// power is cut: time for a system to write what it holds, far less than the
	// 600 s of Ironic, since what runs there is about to be replaced.
	DefaultSoft = 30 * time.Second
	// DefaultPoll is the pause between two looks at the power state, and
	// DefaultGap the least time between two commands that change something at one
	// BMC: faster ones crash some BMCs (Ironic's min_command_interval).
	DefaultPoll = 5 * time.Second
	DefaultGap  = 5 * time.Second
	// DefaultIdle is how long a session is kept for the next command: well below
	// the 60 s after which a BMC drops it by itself (§6.12.15), so that nothing
	// must be sent to keep it alive.
	DefaultIdle = 30 * time.Second
	// DefaultMaxSessions bounds the BMCs talked to at once: a full rack, with
	// room to spare.
	DefaultMaxSessions = 64
)

const (
	// callLimit bounds one piece of work at one BMC, in which others wait for it.
	callLimit = 25 * time.Second
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
	Soft        time.Duration // until a host has shut itself down; negative: it is not asked to
	Poll        time.Duration // between two looks at the power state
	Gap         time.Duration // between two changes at one BMC, at least; negative: none
	Idle        time.Duration // until a session that nobody uses is closed
	MaxSessions int           // at once; the least used one makes room
	// Recovered is told what a BMC made necessary. It is called by goroutines of
	// the callers, must not block, and may be nil.
	Recovered func(Target, rack.Recovery)
}

// Client talks to BMCs. See the package comment.
type Client struct {
	o       Options
	slots   chan struct{} // bounds sessions
	waiting atomic.Int32  // owners that wait for a slot

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	all  sync.WaitGroup // owners

	mu     sync.Mutex
	owners map[netip.AddrPort]*owner // BMCs with a caller, a session, or a gap to keep
	closed bool

	refused map[Target]refused // logins that a probe tried in vain
}

// New makes a client; Close ends it. It fails only without a dialer.
func New(o Options) (*Client, error) {
	if o.Dial == nil {
		return nil, errors.New("power: no dialer given")
	}
	set(&o.Timeout, DefaultTimeout)
	set(&o.Settle, DefaultSettle)
	set(&o.Poll, DefaultPoll)
	set(&o.Idle, DefaultIdle)
	if o.Soft == 0 {
		o.Soft = DefaultSoft
	}
	if o.Gap == 0 {
		o.Gap = DefaultGap
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	o.Retries = max(o.Retries, 0)
	if o.MaxSessions <= 0 {
		o.MaxSessions = DefaultMaxSessions
	}
	if o.Recovered == nil {
		o.Recovered = func(Target, rack.Recovery) {}
	}
	c := &Client{o: o, slots: make(chan struct{}, o.MaxSessions), owners: map[netip.AddrPort]*owner{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Close gives up what is under way, closes every session at its BMC and waits for
// that, which is bounded. Calls afterwards fail with ErrCanceled.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.all.Wait()
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
	Firmware       string // its revision, "2.15"
}

// Probe asks whether a BMC is there. It returns its GUID as 32 lower hex digits
// in the order of the wire (§22.14). No login is needed for that by the
// standard; a BMC that wants one, or keeps silent without one as OpenIPMI's does, is
// logged in to, if there is a login for it; seldom, if it refused that login.
//
// Errors: as Login.
func (c *Client) Probe(ctx context.Context, t Target) (string, error) {
	const asked = "say who it is"
	var guid string
	ask := func(ctx context.Context, s *session) (err error) {
		guid, err = s.guid(ctx)
		return err
	}
	err := c.talk(ctx, t, asked, stranger, ask)
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrSilent) && t.User != "" && ctx.Err() == nil {
		if no := c.refusedLately(t); no != nil {
			return "", no
		}
		err = c.talk(ctx, t, asked, loggedIn, ask)
		c.remember(t, err)
	}
	return guid, err
}

// probeAgain is how long a login that was refused is not tried again by looking for the
// BMC: makers lock an account after three to five failures within minutes.
const probeAgain = 10 * time.Minute

// refused is a login that was refused.
type refused struct {
	at  time.Time
	err error
}

// refusedLately is the answer to the same login, when it was refused a short while ago.
func (c *Client) refusedLately(t Target) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.refused[t]; ok && time.Since(r.at) < probeAgain {
		return r.err
	}
	return nil
}

func (c *Client) remember(t Target, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refused, t)
	if errors.Is(err, ErrLogin) {
		if c.refused == nil {
			c.refused = map[Target]refused{}
		}
		c.refused[t] = refused{time.Now(), err}
	}
}

// Login logs in and asks for GUID, power state and maker.
//
// Errors: ErrSilent, ErrLogin, ErrBusy, ErrRefused, ErrBadInput, ErrCanceled, as
// an *Error.
func (c *Client) Login(ctx context.Context, t Target) (Info, error) {
	var out Info
	err := c.talk(ctx, t, "let us log in", loggedIn, func(ctx context.Context, s *session) error {
		guid, err := s.guid(ctx)
		if err != nil {
			return err
		}
		on, err := s.powerOn(ctx)
		if err != nil {
			return err
		}
		id, err := s.device(ctx)
		if err != nil {
			return err
		}
		out = Info{GUID: guid, PowerOn: on, ManufacturerID: id.maker, ProductID: id.product, Firmware: id.firmware}
		return nil
	})
	return out, err
}

// PowerState asks whether the host is on.
//
// Errors: as Login.
func (c *Client) PowerState(ctx context.Context, t Target) (on bool, err error) {
	err = c.talk(ctx, t, "say whether its host is on", loggedIn, func(ctx context.Context, s *session) (err error) {
		on, err = s.powerOn(ctx)
		return err
	})
	return on, err
}

// guid reads the system GUID; a BMC without that command has said it in RAKP
// message 2 (§13.21).
func (s *session) guid(ctx context.Context) (string, error) {
	var r *app.GetSystemGUIDResponse
	err := s.ask(ctx, types.CommandGetSystemGUID, func() (err error) {
		r, err = s.c.GetSystemGUID(ctx)
		return err
	})
	if err == nil {
		return hex.EncodeToString(r.GUID[:]), nil
	}
	if !errors.As(err, new(*refusal)) {
		return "", err
	}
	if b, _ := s.g.seen(); len(b) == 16 {
		return hex.EncodeToString(b), nil
	}
	return "", err
}

// powerOn reads the power state (§28.2).
func (s *session) powerOn(ctx context.Context) (on bool, err error) {
	err = s.ask(ctx, types.CommandGetChassisStatus, func() error {
		r, err := s.c.GetChassisStatus(ctx)
		on = err == nil && r.PowerIsOn
		return err
	})
	return on, err
}

// identity is which product a BMC is.
type identity struct {
	maker    uint32 // IANA enterprise number
	product  uint16
	firmware string
}

// device reads which product the BMC is (§20.1), once in the life of its owner.
func (s *session) device(ctx context.Context) (identity, error) {
	if s.o.is != nil {
		return *s.o.is, nil
	}
	var is identity
	err := s.ask(ctx, types.CommandGetDeviceID, func() error {
		r, err := s.c.GetDeviceID(ctx)
		if err == nil {
			is = identity{r.ManufacturerID, r.ProductID, fmt.Sprintf("%d.%02d", r.MajorFirmwareRevision, r.MinorFirmwareRevision)} // as ipmitool says it: 2.05 is not 2.50
		}
		return err
	})
	if err == nil {
		s.o.is = &is
	}
	return is, err
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
