package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// deviceVerb is a command that orders something of one device.
type deviceVerb struct {
	use, short, long, example string
	args                      int
	reason                    string // help of --reason; empty: there is none
	confirm                   bool   // asks for the device's name before it overwrites something
	order                     func(ctx context.Context, c *reached, name string, given []string, reason string) ([]*messages.Event, error)
}

func deviceVerbs() []deviceVerb {
	return []deviceVerb{
		{
			use: "retry [RACK/]DEVICE", args: 1, reason: "why, for those who come after you",
			short: "Forget a device's failure and try again",
			long: `Forget a device's failure, or that it was skipped, and try again with all attempts.
While the rack is being imaged this comes into force at once, else with rackreach
resume. Of one that is held for its cables it says that somebody has looked at them: what
was heard at them before is forgotten. A device that may still be writing is not tried again: see reimage.`,
			example: "  rackreach retry tor-1\n  rackreach retry r1/server-03",
			order: func(ctx context.Context, c *reached, name string, _ []string, reason string) ([]*messages.Event, error) {
				a, err := c.RetryDevice(ctx, connect.NewRequest(&messages.RetryDeviceRequest{Name: name, Reason: reason}))
				return eventsOf(a, err)
			},
		},
		{
			use: "skip [RACK/]DEVICE", args: 1, reason: "why; required",
			short:   "Leave a server out of this run",
			long:    "Leave a server out of this run; rackreach retry takes it in again. A switch cannot be\nskipped: what lies behind it would stay unreachable.",
			example: `  rackreach skip server-03 --reason "no power supply"`,
			order: func(ctx context.Context, c *reached, name string, _ []string, reason string) ([]*messages.Event, error) {
				a, err := c.SkipDevice(ctx, connect.NewRequest(&messages.SkipDeviceRequest{Name: name, Reason: reason}))
				return eventsOf(a, err)
			},
		},
		{
			use: "reimage [RACK/]DEVICE", args: 1, reason: "why, for those who come after you", confirm: true,
			short: "Image a device from the start, and overwrite what it holds",
			long: `Image a device from the start, and overwrite what it holds. It asks for the device's
name first; --yes is for scripts. A device that is protected in the rack file, or
that may be writing at this moment, is left alone.`,
			example: "  rackreach reimage server-03\n  rackreach reimage server-03 --yes",
			order: func(ctx context.Context, c *reached, name string, given []string, reason string) ([]*messages.Event, error) {
				_, device := splitDevice(given[0])
				a, err := c.ReimageDevice(ctx, connect.NewRequest(&messages.ReimageDeviceRequest{Name: name, Reason: reason, Confirm: device}))
				return eventsOf(a, err)
			},
		},
		{
			use: "replace [RACK/]DEVICE", args: 1, reason: "why, for those who come after you",
			short: "Say that other hardware stands in a slot",
			long: `Say that other hardware stands in a slot: what was learned of the old one is
forgotten, and the new one is discovered and imaged from the start.`,
			example: `  rackreach replace server-03 --reason "board swapped"`,
			order: func(ctx context.Context, c *reached, name string, _ []string, reason string) ([]*messages.Event, error) {
				a, err := c.ReplaceDevice(ctx, connect.NewRequest(&messages.ReplaceDeviceRequest{Name: name, Reason: reason}))
				return eventsOf(a, err)
			},
		},
		{
			use: "bind [RACK/]SLOT MAC|SERIAL", args: 2,
			short:   "Say which hardware belongs to a slot",
			long:    "Say which hardware belongs to a slot, by the MAC of an interface or by its serial\nnumber, where neither port nor inventory tells.",
			example: "  rackreach bind server-03 52:54:00:12:34:56\n  rackreach bind tor-2 JPE12221671",
			order: func(ctx context.Context, c *reached, name string, given []string, _ string) ([]*messages.Event, error) {
				q := &messages.BindDeviceRequest{Name: name}
				if _, err := net.ParseMAC(given[1]); err == nil {
					q.Mac = given[1]
				} else {
					q.Serial = given[1]
				}
				a, err := c.BindDevice(ctx, connect.NewRequest(q))
				return eventsOf(a, err)
			},
		},
	}
}

// eventsOf are the events of an answer.
func eventsOf[T any, P interface {
	*T
	GetEvents() []*messages.Event
}](a *connect.Response[T], err error) ([]*messages.Event, error) {
	if err != nil {
		return nil, err
	}
	return P(a.Msg).GetEvents(), nil
}

func newDeviceVerb(v deviceVerb, env func(string) (string, bool)) *cobra.Command {
	var state, reason string
	var yes bool
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Example: v.example, Args: args(cobra.ExactArgs(v.args)),
		RunE: func(cmd *cobra.Command, given []string) error {
			t := terminal{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env}
			rackName, device := splitDevice(given[0])
			c, err := reach(cmd.Context(), state, env, rackName)
			if err != nil {
				return err
			}
			if v.confirm && !yes {
				err := c.knows(cmd.Context(), device)
				if err == nil {
					err = confirmed(t, c.rack, device)
				}
				if err != nil {
					return errors.Join(err, c.close())
				}
			}
			waits, err := c.waits(cmd.Context())
			if err != nil {
				return errors.Join(err, c.close())
			}
			events, err := v.order(cmd.Context(), c, messages.DeviceName(c.rack, device), given, reason)
			err = c.told(t, events, err)
			if err == nil && len(events) > 0 && waits {
				err = printLines(t.out, []string{"It comes into force with: " + named(c.inRack(), "rackreach resume")})
			}
			return errors.Join(err, c.close())
		},
	}
	stateFlag(cmd.Flags(), &state)
	if v.reason != "" {
		cmd.Flags().StringVar(&reason, "reason", "", v.reason)
	}
	if v.confirm {
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return cmd
}

// knows refuses a device that the rack does not have, before anybody is asked
// about it.
func (c *reached) knows(ctx context.Context, device string) error {
	a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)}))
	if err != nil {
		return c.explain(err)
	}
	for _, d := range a.Msg.GetRack().GetDevices() {
		if d.GetName() == messages.DeviceName(c.rack, device) {
			return nil
		}
	}
	return badInput(fmt.Errorf("rack %s has no such device as %q: rackreach status shows its devices", c.rack, device))
}

// maxTyped bounds what is read from somebody who confirms.
const maxTyped = 256 // bytes

// confirmed asks for the device's name.
func confirmed(t terminal, rackName, device string) error {
	if _, err := fmt.Fprintf(t.notes, "What %s/%s holds will be overwritten. Type its name to go on: ", rackName, device); err != nil {
		return err
	}
	s := bufio.NewScanner(t.in)
	s.Buffer(make([]byte, maxTyped), maxTyped)
	if !s.Scan() || strings.TrimSpace(s.Text()) != device {
		return badInput(fmt.Errorf("\nreimage %s: not confirmed, nothing was changed. In scripts, write --yes", device))
	}
	return nil
}

func newHalt(env func(string) (string, bool)) *cobra.Command {
	var state, reason string
	cmd := &cobra.Command{
		Use:   "halt [RACK]",
		Short: "End the imaging of a rack at this point",
		Long: `End the imaging of a rack at this point: no new ticket, power or configuration
command; what is being installed is served to its end. rackreach resume goes on.`,
		Example: `  rackreach halt --reason "smoke in row 4"`,
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			t := terminal{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env}
			c, err := reach(cmd.Context(), state, env, append(given, "")[0])
			if err != nil {
				return err
			}
			a, err := c.HaltRack(cmd.Context(), connect.NewRequest(&messages.HaltRackRequest{Name: messages.RackName(c.rack), Reason: reason}))
			events, err := eventsOf(a, err)
			return errors.Join(c.told(t, events, err), c.close())
		},
	}
	stateFlag(cmd.Flags(), &state)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who come after you")
	return cmd
}

// told says what an order came to.
func (c *reached) told(t terminal, events []*messages.Event, err error) error {
	if err != nil {
		return c.explain(err)
	}
	var lines []string
	for _, m := range events {
		e, err := messages.ToEvent(m)
		if err != nil {
			return err
		}
		who := e.Device
		if who == "" {
			who = e.Rack
		}
		lines = append(lines, who+": "+audit.Sentence(e))
	}
	if len(events) == 0 {
		lines = append(lines, c.rack+": it is so already")
	}
	return printLines(t.out, lines)
}

// waits reports whether nothing will follow from an order about a device until the rack
// is resumed: nobody drives it, or its agent stands at the end of a run. It is asked
// before the order: an order may be what ends a run, and its agent then.
func (c *reached) waits(ctx context.Context) (bool, error) {
	if c.kept != nil {
		return true, nil
	}
	a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)}))
	if err != nil {
		return false, c.explain(err)
	}
	status := rack.Status(a.Msg.GetRack().GetStatus())
	return status == rack.Halted || status == rack.Completed, nil
}
