package power

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

// owner is the only goroutine that talks to one BMC. It keeps the session from one
// call to the next, and ends by itself when nobody has called for a while.
//
// Invariant: it holds a slot of the client as long as it has a session.
type owner struct {
	c     *Client
	key   netip.AddrPort
	calls chan *call
	evict chan struct{} // asks for the session of an idle owner; holds one

	// Guarded by Client.mu.
	refs int       // callers that wait or are served
	idle time.Time // since when a session waits for its next call; zero: it does not

	// Of the goroutine alone.
	s     *session
	user  string // whose session it is
	pass  string
	suite types.CipherSuiteID // that worked last; suiteFirst at the begin
	is    *identity           // nil: not known yet
	ready time.Time           // when the next change may be made
}

// need says in what state a BMC must be for a call.
type need int

const (
	stranger need = iota // a wire of its own, no login
	loggedIn             // a session
)

// call is one piece of work at a BMC.
type call struct {
	ctx    context.Context
	t      Target
	need   need
	fn     func(context.Context, *session) error
	result chan error // takes one
}

// tooSoon is the answer to a change that comes too early for the BMC.
type tooSoon struct{ wait time.Duration }

func (e *tooSoon) Error() string { return fmt.Sprintf("not before %s are over", e.wait) }

// errEnded is why a client that was closed does nothing.
var errEnded = errors.New("the access to BMCs was closed")

// talk has fn run by the owner of a BMC, with a session if one is needed. fn may run
// twice when the session turns out to be lost, and again when a change came too
// soon. It ends soon after ctx does, whatever the BMC sends.
func (c *Client) talk(ctx context.Context, t Target, asked string, need need, fn func(context.Context, *session) error) error {
	if err := t.valid(); err != nil {
		return &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Answer: err.Error(), Next: "correct bmc in the rack file, or what bmc.credentials refers to", Kind: ErrBadInput}
	}
	notAsked := func(cause error) error {
		return &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Answer: "not asked: others were still talking to it", Next: "retry", Kind: ErrCanceled, Cause: cause}
	}
	o, err := c.enter(t)
	if err != nil {
		return notAsked(err)
	}
	defer c.leave(o)
	for {
		k := &call{ctx: ctx, t: t, need: need, fn: fn, result: make(chan error, 1)}
		select {
		case o.calls <- k:
		case <-ctx.Done():
			return notAsked(context.Cause(ctx))
		case <-c.ctx.Done():
			return notAsked(errEnded)
		}
		err := <-k.result
		var soon *tooSoon
		if !errors.As(err, &soon) {
			return t.explain(ctx, asked, err)
		}
		if err := pause(ctx, soon.wait); err != nil {
			return t.explain(ctx, asked, err)
		}
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter finds the owner of a BMC, or starts it.
func (c *Client) enter(t Target) (*owner, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errEnded
	}
	key := t.addrPort()
	o := c.owners[key]
	if o == nil {
		o = &owner{c: c, key: key, calls: make(chan *call), evict: make(chan struct{}, 1), suite: suiteFirst}
		c.owners[key] = o
		c.all.Go(o.run)
	}
	o.refs++
	return o, nil
}

func (c *Client) leave(o *owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.refs--
}

// run serves callers, one after the other.
func (o *owner) run() {
	idle := time.NewTimer(o.c.o.Idle)
	defer idle.Stop()
	for {
		select {
		case k := <-o.calls:
			o.rest(false)
			k.result <- o.serve(k)
			o.rest(true)
			if o.c.waiting.Load() > 0 {
				o.drop(context.Background())
			}
		case <-o.evict:
			o.drop(context.Background())
			continue
		case <-idle.C:
			o.drop(context.Background())
			if o.gone() {
				return
			}
		case <-o.c.ctx.Done():
			o.drop(context.Background())
			return
		}
		idle.Reset(o.c.o.Idle)
	}
}

// rest notes whether the session may be taken away.
func (o *owner) rest(idle bool) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	o.idle = time.Time{}
	if idle && o.s != nil {
		o.idle = time.Now()
	}
}

// gone takes the owner off the list, unless somebody needs it.
func (o *owner) gone() bool {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if o.refs > 0 || time.Now().Before(o.ready) {
		return false
	}
	delete(o.c.owners, o.key)
	return true
}

// serve does one call.
func (o *owner) serve(k *call) error {
	ctx, cancel := context.WithTimeout(k.ctx, callLimit)
	defer cancel()
	defer context.AfterFunc(o.c.ctx, cancel)()
	do := o.inSession
	if k.need == stranger {
		do = o.aside
	}
	err := do(ctx, k)
	if err != nil && o.c.ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	return err
}

// aside does a call that needs no login on a wire of its own.
func (o *owner) aside(ctx context.Context, k *call) error {
	s, err := o.dial(ctx, k.t)
	if err != nil {
		return err
	}
	defer s.hangUp()
	return s.do(ctx, k.fn)
}

func (o *owner) inSession(ctx context.Context, k *call) error {
	if o.s != nil && (o.user != k.t.User || o.pass != k.t.Password) {
		o.drop(ctx)
	}
	if err := o.open(ctx, k.t); err != nil {
		return err
	}
	err := o.s.do(ctx, k.fn)
	if o.s.sound(err) {
		o.s.kept = true
		return err
	}
	again := o.s.kept && !o.s.sent && ctx.Err() == nil
	o.drop(ctx)
	if !again {
		return err
	}
	// A session that was kept may have been forgotten by its BMC: only a login
	// tells whether it is still there.
	if err := o.open(ctx, k.t); err != nil {
		return err
	}
	o.c.o.Recovered(k.t, rack.SessionRenewed)
	if err = o.s.do(ctx, k.fn); !o.s.sound(err) {
		o.drop(ctx)
	}
	return err
}

// open logs in, unless there is a session.
func (o *owner) open(ctx context.Context, t Target) error {
	if o.s != nil {
		return nil
	}
	if err := o.c.slot(ctx); err != nil {
		return err
	}
	s, err := o.login(ctx, t)
	// Sessions that a killed agent left behind are forgotten after a minute (§6.12.15).
	for full(err) && pause(ctx, o.c.o.Poll) == nil {
		taken := err
		if s, err = o.login(ctx, t); err != nil && ctx.Err() != nil {
			err = taken
		}
	}
	if err != nil {
		<-o.c.slots
		return err
	}
	o.s, o.user, o.pass, o.suite = s, t.User, t.Password, s.suite
	return nil
}

func (o *owner) login(ctx context.Context, t Target) (*session, error) {
	s, err := o.dial(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := s.do(ctx, func(ctx context.Context, s *session) error { return s.login(ctx) }); err != nil {
		s.hangUp()
		return nil, err
	}
	return s, nil
}

// full reports whether a BMC has no room for a session.
func full(err error) bool {
	var no *loginRefusal
	return errors.As(err, &no) && no.busy()
}

// drop closes the session, if there is one.
func (o *owner) drop(ctx context.Context) {
	if o.s == nil {
		return
	}
	o.s.close(ctx)
	o.s = nil
	o.rest(true)
	<-o.c.slots
}

// slot waits for room for one session more, and makes the owner that has not been
// called for longest give up its own.
//
// Nobody is missed: who waits is counted before it looks for idle owners, and an
// owner becomes idle before it looks whether anybody waits.
func (c *Client) slot(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	c.evict()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Client) evict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var oldest *owner
	for _, o := range c.owners {
		if !o.idle.IsZero() && (oldest == nil || o.idle.Before(oldest.idle)) {
			oldest = o
		}
	}
	if oldest == nil {
		return
	}
	oldest.idle = time.Time{} // so that the next one who waits asks another
	select {
	case oldest.evict <- struct{}{}:
	default:
	}
}
