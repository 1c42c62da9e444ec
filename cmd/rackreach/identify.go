package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/messages"
)

// identifyLimit bounds the conversation with one BMC.
const identifyLimit = 20 * time.Second

type identify struct {
	file, device string
	off          bool
	env          func(string) (string, bool)
	power        power.Options
}

func newIdentify(env func(string) (string, bool)) *cobra.Command {
	i := &identify{env: env, power: power.Options{Dial: (&net.Dialer{}).DialContext}}
	var state, reason string
	cmd := &cobra.Command{
		Use:   "identify {[RACK/]DEVICE | FILE DEVICE}",
		Short: "Light the identify light of a device",
		Long: `Light the identify light of a device, so that somebody who stands in front of the
rack finds it. The agent of the rack does it, as any other order; the light of a device
that failed shines already. With a rack file its BMC is asked from this machine, with the
credentials that the file refers to: neither an agent nor a run is needed then, and none
is disturbed.`,
		Example: "  rackreach identify r1/server-03\n  rackreach identify server-03 --off\n  rackreach identify rack.yaml server-03",
		Args:    args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 2 {
				i.file, i.device = given[0], given[1]
				return i.run(cmd.Context(), cmd.OutOrStdout())
			}
			t := terminal{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env}
			if f, err := os.Stat(given[0]); err == nil && f.Mode().IsRegular() {
				return badInput(fmt.Errorf("identify %s: which device is missing: write: rackreach identify %s DEVICE", given[0], given[0]))
			}
			rackName, device := splitDevice(given[0])
			c, err := reach(cmd.Context(), state, env, rackName)
			if err != nil {
				return err
			}
			a, err := c.IdentifyDevice(cmd.Context(), connect.NewRequest(&messages.IdentifyDeviceRequest{Name: messages.DeviceName(c.rack, device), Reason: reason, Off: i.off}))
			events, err := eventsOf(a, err)
			return errors.Join(c.told(t, events, err), c.close())
		},
	}
	stateFlag(cmd.Flags(), &state)
	cmd.Flags().BoolVar(&i.off, "off", false, "put it out")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who come after you")
	return cmd
}

func (i *identify) run(ctx context.Context, out io.Writer) error {
	r, _, err := loadKnown(i.file, i.env)
	if err != nil {
		return err
	}
	d, ok := r.Device(i.device)
	switch {
	case !ok:
		return badInput(fmt.Errorf("%s: rack %s has no such device as %q: write one of %s", i.file, r.Name, i.device, deviceNames(r)))
	case d.BMC == nil:
		return badInput(fmt.Errorf("%s: %s has no BMC, and so no light that can be lit from here", i.file, d.Name))
	}
	user, password, err := credentials(i.env)(d.BMC.Credentials)
	if err != nil {
		return badInput(fmt.Errorf("the credentials of the BMC of %s: %w", d.Name, err))
	}
	client, err := power.New(i.power)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, identifyLimit)
	defer cancel()
	if err := client.Identify(ctx, power.Target{Device: d.Name, Address: d.BMC.Address, User: user, Password: password}, !i.off); err != nil {
		return err
	}
	state := "on"
	if i.off {
		state = "off"
	}
	_, err = fmt.Fprintf(out, "%s: its identify light is %s\n", d.Name, state)
	return err
}
