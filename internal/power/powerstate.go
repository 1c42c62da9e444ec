package power

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

const (
	// powerTries bounds how often "be on" is sent when no reply comes and the
	// state read back shows no change.
	powerTries = 3
	// lostPolls is how many looks at the state a command gets whose reply was
	// lost, before it is taken for lost itself.
	lostPolls = 2
)

// PowerOn powers the host on and reads the state back. A host that is on
// already is left alone.
//
// Errors: as Login, and ErrStuck when the state does not follow.
func (c *Client) PowerOn(ctx context.Context, t Target) error {
	return c.drive(ctx, t, order{asked: "power its host on", on: true, control: chassis.ChassisControlPowerUp, limit: c.o.Settle, tries: powerTries})
}

// PowerOff asks the host to shut itself down (ACPI), waits, and cuts its power if it
// has not by then. The state is read back. A host that is off is left alone.
//
// Errors: as PowerOn.
func (c *Client) PowerOff(ctx context.Context, t Target) error {
	if c.o.Soft > 0 {
		err := c.drive(ctx, t, order{asked: "shut its host down", control: chassis.ChassisControlSoftShutdown, limit: c.o.Soft, tries: 1})
		if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrNotKept) {
			return err
		}
		// It cannot, or its host runs nothing that listens.
		c.o.Recovered(t, rack.PowerCut)
	}
	return c.drive(ctx, t, order{asked: "power its host off", control: chassis.ChassisControlPowerDown, limit: c.o.Settle, tries: powerTries})
}

// PowerCycle powers the host off as PowerOff does, waits until it is off, powers it
// on and reads the state back. Not the BMC's own cycle command: when its reply
// is lost nothing tells whether it was carried out.
//
// Errors: as PowerOn.
func (c *Client) PowerCycle(ctx context.Context, t Target) error {
	if err := c.PowerOff(ctx, t); err != nil {
		return err
	}
	return c.PowerOn(ctx, t)
}

// order is a power state, and the command (§28.3) that leads to it.
type order struct {
	asked   string
	on      bool
	control chassis.ChassisControl
	limit   time.Duration // until the state follows
	tries   int           // commands without answer
}

// drive brings the host to a power state, and sends nothing when it is there.
func (c *Client) drive(ctx context.Context, t Target, x order) error {
	var last error
	for try := range x.tries {
		if try > 0 {
			c.o.Recovered(t, rack.PowerAgain)
		}
		there, answered, err := c.patiently(ctx, t, x)
		if err != nil || there {
			return err
		}
		limit := x.limit
		if !answered && x.tries > 1 {
			limit = min(lostPolls*c.o.Poll, limit)
		}
		if there, last = c.settled(ctx, t, x, limit); there {
			return nil
		}
		if last != nil && ctx.Err() != nil {
			return last
		}
		if answered {
			return t.stuck(x, limit, last)
		}
	}
	if last != nil {
		return last
	}
	return t.stuck(x, time.Duration(x.tries)*lostPolls*c.o.Poll, nil)
}

// patiently is command, again and again while a BMC of this make refuses what it
// will do a little later (LateOn in the table of quirks).
func (c *Client) patiently(ctx context.Context, t Target, x order) (there, answered bool, err error) {
	for tries := 0; ; tries++ {
		var quirks Quirks
		there, answered, quirks, err = c.command(ctx, t, x)
		var no *Error
		if !x.on || !errors.As(err, &no) || no.Code != uint8(types.CodeNotSupported) || tries >= quirks.LateOn.Tries {
			return there, answered, err
		}
		if err := pause(ctx, c.o.Poll*time.Duration(quirks.LateOn.Polls)); err != nil {
			return false, false, t.explain(ctx, x.asked, err)
		}
		c.o.Recovered(t, rack.PowerAgain)
	}
}

// command reads the state, sends the command once if it must, and reads the
// state again, all in one session. A lost reply is no error: answered is false
// then, and only the state read back counts.
func (c *Client) command(ctx context.Context, t Target, x order) (there, answered bool, quirks Quirks, err error) {
	sent := false
	err = c.talk(ctx, t, x.asked, loggedIn, func(ctx context.Context, s *session) error {
		now, err := s.powerOn(ctx)
		if there = err == nil && now == x.on; err != nil || there {
			return err
		}
		err = s.change(types.CommandChassisControl, func() error {
			sent, s.sent = true, true
			_, err := s.c.ChassisControl(ctx, x.control)
			return err
		})
		if errors.As(err, new(*tooSoon)) {
			return err
		}
		if errors.As(err, new(*refusal)) {
			quirks = s.quirks(ctx)
			return err
		}
		answered = err == nil
		now, err = s.powerOn(ctx)
		there = err == nil && now == x.on
		return err
	})
	// Silence after the command was sent proves nothing.
	if sent && errors.Is(err, ErrSilent) && ctx.Err() == nil {
		return false, answered, quirks, nil
	}
	return there, answered, quirks, err
}

// settled looks at the state until it is the wanted one or the limit is over. A BMC
// that does not answer for a while after a power change is usual: the error is that
// of the last look.
func (c *Client) settled(ctx context.Context, t Target, x order, limit time.Duration) (bool, error) {
	end := time.Now().Add(limit)
	for {
		if err := pause(ctx, c.o.Poll); err != nil {
			return false, t.explain(ctx, x.asked, err)
		}
		now, err := c.PowerState(ctx, t)
		if err == nil && now == x.on {
			return true, nil
		}
		if time.Now().Add(c.o.Poll).After(end) || ctx.Err() != nil {
			return false, err
		}
	}
}

// stuck is the error of a command that was accepted without effect.
func (t Target) stuck(x order, waited time.Duration, last error) error {
	state := "on"
	if x.on {
		state = "off"
	}
	e := &Error{Device: t.Device, Address: t.addrPort(), Asked: x.asked, Kind: ErrStuck, Cause: last,
		Answer: fmt.Sprintf("its host is still %s after %s", state, waited.Round(time.Millisecond)),
		Next:   "look at its power supply and front panel, then retry"}
	if last != nil {
		e.Answer = fmt.Sprintf("it accepted that, but its state cannot be read since: %v", last)
	}
	return e
}
