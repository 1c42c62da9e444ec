package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"connectrpc.com/connect"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// takeOver makes this machine the agent of the rack.
func (a *agent) takeOver(ctx context.Context, t terminal, home state.Home) error {
	client, hangUp, err := dialCoordinator(home, a.coordinator)
	if err != nil {
		return err
	}
	defer hangUp()
	got, err := rackagent.Adopt(ctx, rackagent.AdoptOptions{Home: home, Rack: a.rack, Client: client, Force: a.force, Living: a.living})
	var refused *connect.Error
	if errors.As(err, &refused) && refused.Code() == connect.CodeFailedPrecondition || ctx.Err() == nil && err != nil && refused == nil {
		return badInput(err)
	}
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("rack %s is taken over: epoch %d, %d events", a.rack, got.Epoch, got.Last)}
	if got.Aside != "" {
		lines = append(lines, "  what stood here before lies in "+got.Aside)
	}
	if got.Last > 0 {
		lines = append(lines, "  devices that were not ready are uncertain: rackreach status names them, and what to do")
	}
	if a.json {
		return printLines(t.notes, lines)
	}
	return printLines(t.out, lines)
}

// living names an agent that is at work on the rack's own wires.
func (a *agent) living(ctx context.Context) (string, error) {
	if !a.simulate {
		return "", nil
	}
	rack, err := sim.Look(ctx, a.socket)
	if errors.Is(err, sim.ErrNobody) || err == nil && rack.Agent == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("another agent (process %d)", rack.Agent), nil
}

// dialCoordinator is the way to a coordinator: unix://PATH, http://HOST:PORT on
// this machine, or, when at is empty, the socket in the state directory. Nothing is
// sent before the first call.
func dialCoordinator(home state.Home, at string) (_ messagesconnect.BusServiceClient, hangUp func(), err error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true}
	base := at
	path, unix := strings.CutPrefix(at, "unix://")
	if at == "" {
		path, unix = home.Coordinator(), true
	}
	if unix {
		base = "http://coordinator"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	} else if u, err := url.Parse(at); err != nil || u.Scheme != "http" || !loopback(u.Hostname()) {
		return nil, nil, badInput(fmt.Errorf("--coordinator %s: write unix://PATH, or http://127.0.0.1:PORT for a coordinator on this machine", at))
	}
	return messagesconnect.NewBusServiceClient(&http.Client{Transport: transport}, base), transport.CloseIdleConnections, nil
}
