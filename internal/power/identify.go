package power

import (
	"context"
	"errors"

	"github.com/bougou/go-ipmi/pkg/types"
)

// identifySeconds is how long the light shines on a BMC that cannot leave it on: the
// most that the command can say (§28.5).
const identifySeconds = 255

// Identify lights the host's identify light until it is put out, or puts it out. A
// BMC that cannot leave it on lights it for four minutes.
//
// It is no change that must keep its distance from others: it touches neither power
// nor boot, and somebody stands in front of the rack and waits.
//
// Errors: as Login.
func (c *Client) Identify(ctx context.Context, t Target, on bool) error {
	asked := "put out its identify light"
	if on {
		asked = "light its identify light"
	}
	return c.talk(ctx, t, asked, loggedIn, func(ctx context.Context, s *session) error {
		light := func(seconds uint8, force bool) error {
			return s.ask(ctx, types.CommandChassisIdentify, func() error {
				_, err := s.c.ChassisIdentify(ctx, seconds, force)
				return err
			})
		}
		if !on {
			return light(0, false)
		}
		// The second byte, "until told otherwise", is optional.
		err := light(identifySeconds, true)
		var no *refusal
		if errors.As(err, &no) && !no.busy() {
			return light(identifySeconds, false)
		}
		return err
	})
}
