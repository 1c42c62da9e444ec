package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/pflag"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

func stateFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "state", "", "state directory (default: $RACKREACH_STATE, or rackreach in your state home)")
}

func driveFlags(f *pflag.FlagSet, json *bool, metrics *string) {
	f.BoolVar(json, "json", false, "print every event as one line of JSON")
	f.StringVar(metrics, "metrics-listen", "127.0.0.1:0", "serve Prometheus metrics on this loopback address")
}

// reached is the API of one rack: that of the agent that drives it, or, when
// none does, one of this process over the rack's journal.
type reached struct {
	*api.Client
	rack  string
	kept  *rackagent.Kept // nil: an agent drives the rack, or its journal can only be read
	local func() error    // ends the API of this process; nil when there is none
}

// driven reports whether an agent drives the rack.
func (c *reached) driven() bool { return c.local == nil && c.kept == nil }

// reach finds a rack by its name; empty when there is only one.
func reach(ctx context.Context, flag string, env func(string) (string, bool), name string) (*reached, error) {
	home, err := homeOf(flag, env)
	if err != nil {
		return nil, err
	}
	racks, err := home.Racks()
	if err != nil {
		return nil, err
	}
	switch {
	case len(racks) == 0:
		return nil, badInput(fmt.Errorf("no rack was begun in %s: start one with rackreach apply FILE, or give the --state that it was begun with", home))
	case name == "" && len(racks) > 1:
		return nil, badInput(fmt.Errorf("there are %d racks in %s: name one of %s, and a device as RACK/DEVICE", len(racks), home, strings.Join(racks, ", ")))
	case name == "":
		name = racks[0]
	case !slices.Contains(racks, name):
		return nil, badInput(fmt.Errorf("no rack %s was begun in %s: there is %s", name, home, strings.Join(racks, ", ")))
	}
	return reachRack(ctx, home.Rack(name), name)
}

func reachRack(ctx context.Context, dir state.Dir, name string) (*reached, error) {
	client, err := api.Dial(ctx, dir.Socket())
	if err == nil {
		return &reached{Client: client, rack: name}, nil
	}
	if !errors.Is(err, api.ErrNobody) {
		return nil, err
	}
	k, openErr := rackagent.OpenKept(dir, name, nil)
	if openErr != nil {
		// An agent may have taken it over meanwhile.
		if client, err := api.Dial(ctx, dir.Socket()); err == nil {
			return &reached{Client: client, rack: name}, nil
		}
		if unwritable(openErr) {
			r, err := openReadOnly(dir)
			if err != nil {
				return nil, err
			}
			client, stop := api.Local(api.New(r))
			return &reached{Client: client, rack: name, local: stop}, nil
		}
		return nil, stateError(openErr)
	}
	client, stop := api.Local(api.New(k))
	return &reached{Client: client, rack: name, kept: k, local: stop}, nil
}

// letGo ends the API of this process and leaves the journal open.
func (c *reached) letGo() error {
	if c.local == nil {
		c.Client.Close()
		return nil
	}
	stop := c.local
	c.local = nil
	return stop()
}

func (c *reached) close() error {
	err := c.letGo()
	if c.kept != nil {
		err = errors.Join(err, c.kept.Close())
	}
	return err
}

// explain puts an error of the API into the words of the command line: what was
// refused is bad input, with what to do next.
func (c *reached) explain(err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, d := range e.Details() {
		if v, derr := d.Value(); derr == nil {
			if no, ok := v.(*messages.Refusal); ok {
				return badInput(fmt.Errorf("%s\nNothing was changed. Next: %s", no.GetWhat(), no.GetNext()))
			}
		}
	}
	switch e.Code() {
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeFailedPrecondition:
		return badInput(errors.New(e.Message()))
	}
	return errors.New(e.Message())
}

// splitDevice takes RACK/DEVICE apart; RACK may be left out.
func splitDevice(s string) (rackName, device string) {
	if r, d, ok := strings.Cut(s, "/"); ok {
		return r, d
	}
	return "", s
}
