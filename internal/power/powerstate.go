package power

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"
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
// Errors: as Login, and ErrNotKept when the state does not follow.
func (c *Client) PowerOn(ctx context.Context, t Target) error {
	return c.drive(ctx, t, true)
}

// PowerCycle powers the host off, if it is on, waits until it is off, powers it
// on and reads the state back. Not the BMC's own cycle command: when its reply
// is lost nothing tells whether it was carried out.
//
// Errors: as PowerOn.
func (c *Client) PowerCycle(ctx context.Context, t Target) error {
	if err := c.drive(ctx, t, false); err != nil {
		return err
	}
	return c.drive(ctx, t, true)
}

// drive brings the host to a power state, and sends nothing when it is there.
func (c *Client) drive(ctx context.Context, t Target, on bool) error {
	asked, control := "power its host off", chassis.ChassisControlPowerDown
	if on {
		asked, control = "power its host on", chassis.ChassisControlPowerUp
	}
	var last error
	for range powerTries {
		there, answered, err := c.command(ctx, t, asked, on, control)
		if err != nil || there {
			return err
		}
		limit := c.o.Settle
		if !answered {
			limit = min(lostPolls*c.o.Poll, c.o.Settle)
		}
		if there, last = c.settled(ctx, t, asked, on, limit); there {
			return nil
		}
		if last != nil && ctx.Err() != nil {
			return last
		}
		if answered {
			return t.stuck(asked, on, limit, last)
		}
	}
	if last != nil {
		return last
	}
	return t.stuck(asked, on, powerTries*lostPolls*c.o.Poll, nil)
}

// command reads the state, sends the command once if it must, and reads the
// state again, all in one session. A lost reply is no error: answered is false
// then, and only the state read back counts.
func (c *Client) command(ctx context.Context, t Target, asked string, on bool, control chassis.ChassisControl) (there, answered bool, err error) {
	sent := false
	err = c.talk(ctx, t, asked, true, func(ctx context.Context, s *session) error {
		now, err := s.powerOn(ctx)
		if there = err == nil && now == on; err != nil || there {
			return err
		}
		sent = true
		s.c.WithRetry(0)
		_, err = s.c.ChassisControl(ctx, control)
		s.c.WithRetry(c.o.Retries)
		if err = s.refused(types.CommandChassisControl, err); errors.As(err, new(*refusal)) {
			return err
		}
		answered = err == nil
		now, err = s.powerOn(ctx)
		there = err == nil && now == on
		return err
	})
	// Silence after the command was sent proves nothing.
	if sent && errors.Is(err, ErrSilent) && ctx.Err() == nil {
		return false, answered, nil
	}
	return there, answered, err
}

// settled looks at the state until it is the wanted one or the limit is over.
// Each look has its own session. A BMC that does not answer for a while after a
// power change is usual: the error is that of the last look.
func (c *Client) settled(ctx context.Context, t Target, asked string, on bool, limit time.Duration) (bool, error) {
	end := time.Now().Add(limit)
	pause := time.NewTimer(c.o.Poll)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, t.explain(ctx, asked, context.Cause(ctx), 0)
		case <-pause.C:
		}
		var now bool
		err := c.talk(ctx, t, asked, true, func(ctx context.Context, s *session) error {
			var err error
			now, err = s.powerOn(ctx)
			return err
		})
		if err == nil && now == on {
			return true, nil
		}
		if time.Now().Add(c.o.Poll).After(end) || ctx.Err() != nil {
			return false, err
		}
		pause.Reset(c.o.Poll)
	}
}

// stuck is the error of a command that was accepted without effect.
func (t Target) stuck(asked string, on bool, waited time.Duration, last error) error {
	state := "on"
	if on {
		state = "off"
	}
	e := &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Kind: ErrNotKept, Cause: last,
		Answer: fmt.Sprintf("its host is still %s after %s", state, waited.Round(time.Millisecond)),
		Next:   "look at its power supply and front panel, then retry"}
	if last != nil {
		e.Answer = fmt.Sprintf("it accepted that, but its state cannot be read since: %v", last)
	}
	return e
}
