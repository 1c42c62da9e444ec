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

// reached is the API of one rack: of a coordinator, of the rack's agent, or, when
// there is neither, one of this process over the rack's journal.
type reached struct {
	*api.Client
	rack    string
	several bool            // there are other racks, so that commands must name it
	kept    *rackagent.Kept // nil: an agent drives the rack, or its journal can only be read
	local   func() error    // ends the API of this process; nil when there is none
}

// driven reports whether an agent drives the rack.
func (c *reached) driven() bool { return c.local == nil && c.kept == nil }

// findCoordinator is the API of the coordinator that is to be asked: the one that
// somebody named, or one on this machine. nil: there is none. named: only it
// is meant, not what is kept on this machine.
func findCoordinator(ctx context.Context, flag string, env func(string) (string, bool)) (client *api.Client, named bool, err error) {
	s, err := serverOf(env)
	if err != nil {
		return nil, false, err
	}
	if s != nil {
		client, err = api.Connect(*s)
		if err != nil {
			return nil, true, badInput(err)
		}
		return client, true, nil
	}
	home, err := homeOf(flag, env)
	if err != nil {
		return nil, false, err
	}
	client, err = api.Dial(ctx, home.Coordinator())
	if errors.Is(err, api.ErrNobody) {
		return nil, false, nil
	}
	return client, false, err
}

// reach finds a rack by its name; empty when there is only one. A coordinator is
// asked first; what it does not know may be kept on this machine.
func reach(ctx context.Context, flag string, env func(string) (string, bool), name string) (*reached, error) {
	client, named, err := findCoordinator(ctx, flag, env)
	if err != nil {
		return nil, err
	}
	if client != nil {
		c, err := reachThrough(ctx, client, name)
		switch {
		case err != nil || c.rack != "":
			return c, err
		case named:
			return nil, badInput(fmt.Errorf("the coordinator has no rack %.80q: rackreach status shows those that it has", name))
		}
		client.Close()
	}
	c, err := reachHere(ctx, flag, env, name)
	var bad *exit
	if errors.As(err, &bad) && bad.code == exitInput && client != nil && name != "" {
		return nil, badInput(fmt.Errorf("%w\nThe coordinator on this machine has no rack %.80q either: rackreach status shows those that it has", err, name))
	}
	return c, err
}

// reachThrough finds a rack of a coordinator. Its rack is empty when there is none
// of that name.
func reachThrough(ctx context.Context, client *api.Client, name string) (*reached, error) {
	c := &reached{Client: client, rack: name}
	a, err := client.ListRacks(ctx, connect.NewRequest(&messages.ListRacksRequest{}))
	if err != nil {
		return nil, c.explain(err)
	}
	names := a.Msg.GetNames()
	c.several = len(names) > 1
	switch {
	case name == "" && len(names) == 1:
		c.rack, err = messages.ParseRack(names[0])
		return c, err
	case name == "" && len(names) > 1:
		return nil, badInput(fmt.Errorf("the coordinator has %d racks: name one, and a device as RACK/DEVICE; rackreach status shows them", len(names)))
	case !slices.Contains(names, messages.RackName(name)):
		c.rack = ""
	}
	return c, nil
}

// racksIn are the racks that are kept in a state directory.
func racksIn(home state.Home) ([]string, error) {
	racks, err := home.Racks()
	if err != nil {
		return nil, badInput(fmt.Errorf("%w: give the --state of a directory that a rack was begun with, and that you may read", err))
	}
	return racks, nil
}

// reachHere finds a rack that is kept on this machine.
func reachHere(ctx context.Context, flag string, env func(string) (string, bool), name string) (*reached, error) {
	home, err := homeOf(flag, env)
	if err != nil {
		return nil, err
	}
	racks, err := racksIn(home)
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
	c, err := reachRack(ctx, home.Rack(name), name)
	if c != nil {
		c.several = len(racks) > 1
	}
	return c, err
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
		return nil, openErr
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
				return badInput(fmt.Errorf("%s\nNothing was changed. Next: %s", no.GetWhat(), named(c.inRack(), no.GetNext())))
			}
			if _, ok := v.(*messages.Pending); ok {
				return fmt.Errorf("%s\nNext: rackreach status shows when the agent is back", e.Message())
			}
		}
	}
	if e.Code() == connect.CodeCanceled && !connect.IsWireError(e) {
		return errors.New("broken off before there was an answer: what was ordered may be carried out all the same\nNext: rackreach status")
	}
	if c.Client != nil && c.Client.URL != "" && !connect.IsWireError(e) {
		return c.unreached(e)
	}
	switch e.Code() {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return badInput(fmt.Errorf("%s\nNext: rackreach context add NAME --server URL --token TOKEN, with a token that may do this", e.Message()))
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeFailedPrecondition, connect.CodeAlreadyExists:
		return badInput(errors.New(e.Message()))
	}
	return errors.New(e.Message())
}

// unreached is an error of the way to a coordinator, and what to do.
func (c *reached) unreached(e *connect.Error) error {
	next := "look whether it runs there, and at the URL: --server, or rackreach context list"
	switch {
	case strings.Contains(e.Message(), "x509:"):
		next = "rackreach context add NAME --server URL --ca FILE, or RACKREACH_CA, with the certificate of its authority; and call it by a name that it was given"
	case strings.HasPrefix(c.Client.URL, "http://"):
		next = "look whether it runs there; one with certificates is reached by https://"
	}
	return fmt.Errorf("the coordinator at %s: %s\nNext: %s", c.Client.URL, e.Message(), next)
}

// splitDevice takes RACK/DEVICE apart; RACK may be left out.
func splitDevice(s string) (rackName, device string) {
	if r, d, ok := strings.Cut(s, "/"); ok {
		return r, d
	}
	return "", s
}
