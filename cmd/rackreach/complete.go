package main

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// completeLimit bounds what somebody waits for who pressed a key.
const completeLimit = 2 * time.Second

// known are the devices of each rack that can be named, in the rack file's order.
type known struct {
	racks   []string
	devices map[string][]string
}

// knownHere are the racks that are kept on this machine, by their plans: no journal is
// opened, and no agent is disturbed.
func knownHere(home state.Home) known {
	out := known{devices: map[string][]string{}}
	racks, err := home.Racks()
	if err != nil {
		return out
	}
	for _, name := range racks {
		out.racks = append(out.racks, name)
		if p, err := home.Rack(name).ReadPlan(); err == nil {
			for i := range p.Rack.Devices {
				out.devices[name] = append(out.devices[name], p.Rack.Devices[i].Name)
			}
		}
	}
	return out
}

// knownToCoordinator are the racks of a coordinator, and the devices of the one that is
// typed already.
func knownToCoordinator(ctx context.Context, stateDir string, env func(string) (string, bool), typed string) (known, bool) {
	out := known{devices: map[string][]string{}}
	client, _, err := findCoordinator(ctx, stateDir, env)
	if err != nil || client == nil {
		return out, false
	}
	defer client.Close()
	a, err := client.ListRacks(ctx, connect.NewRequest(&messages.ListRacksRequest{}))
	if err != nil {
		return out, false
	}
	for _, n := range a.Msg.GetNames() {
		if name, err := messages.ParseRack(n); err == nil {
			out.racks = append(out.racks, name)
		}
	}
	rackName, _ := splitDevice(typed)
	if rackName == "" && len(out.racks) == 1 {
		rackName = out.racks[0]
	}
	if rackName == "" {
		return out, true
	}
	r, err := client.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(rackName)}))
	if err != nil {
		return out, true
	}
	for _, d := range r.Msg.GetRack().GetDevices() {
		if _, name, err := messages.ParseDevice(d.GetName()); err == nil {
			out.devices[rackName] = append(out.devices[rackName], name)
		}
	}
	return out, true
}

// completing is what can be typed for the first argument of a command: devices, racks, or
// both.
func completing(env func(string) (string, bool), racks, devices bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
		defer cancel()
		stateDir := ""
		if f := cmd.Flags().Lookup("state"); f != nil {
			stateDir = f.Value.String()
		}
		k, ok := knownToCoordinator(ctx, stateDir, env, typed)
		if !ok {
			home, err := homeOf(stateDir, env)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			k = knownHere(home)
		}
		return k.words(racks, devices, typed)
	}
}

// words are what can be typed. A rack whose devices are meant ends with a slash, and no
// space comes behind it.
func (k known) words(racks, devices bool, typed string) (out []string, how cobra.ShellCompDirective) {
	how = cobra.ShellCompDirectiveNoFileComp
	put := func(s string) bool {
		fits := strings.HasPrefix(s, typed)
		if fits {
			out = append(out, s)
		}
		return fits
	}
	for _, r := range k.racks {
		if racks {
			put(r)
		}
		if !devices {
			continue
		}
		within := strings.HasPrefix(typed, r+"/")
		if !within && len(k.racks) > 1 && put(r+"/") {
			how |= cobra.ShellCompDirectiveNoSpace
		}
		for _, d := range k.devices[r] {
			switch {
			case within:
				put(r + "/" + d)
			case len(k.racks) == 1:
				put(d)
			}
		}
	}
	return out, how
}
