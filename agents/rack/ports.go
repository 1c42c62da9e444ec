package rackagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	dhcprelay "github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/internal/adjacency"
	"github.com/rackreach/rackreach/internal/deviceapi"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/snmp"
	"github.com/rackreach/rackreach/internal/ssh"
)

// maxHeard bounds how many neighbours of one port are named.
const maxHeard = 4

// maxTold bounds the reasons that are logged of one switch: each may be of its own words.
const maxTold = 4

// newAsker makes an executor that asks switches for their tables, and can nothing else. It
// knows no host keys and pins none.
func newAsker(o *Options) (*executor, error) {
	s, err := newShell(o, nil, hostKeys(""))
	if err != nil {
		return nil, fmt.Errorf("set up the access to devices: %w", err)
	}
	if s.credentials == nil {
		s.credentials = func(string) (string, string, error) { return "", "", errors.New("none are read") }
	}
	return &executor{rack: o.Rack, device: deviceapi.New(o.Dial), shell: s, snmp: snmp.New(o.Dial), ports: dhcprelay.NewPorts(o.Rack)}, nil
}

// simulated reports whether a device speaks the management API of a simulated one.
func (s *shell) simulated(d *rack.Device) bool {
	return slices.ContainsFunc(s.platforms[d.Platform].Steps, func(x rack.Step) bool {
		return (x.Action == rack.PushConfig || x.Action == rack.VerifyDevice) && x.SSH == nil
	})
}

// Neighbours implements actors.Scanner. A port at which several neighbours are
// heard names them all.
func (x *executor) Neighbours(ctx context.Context, device string) ([]rack.Observation, error) {
	d, ok := x.rack.Device(device)
	if !ok {
		return nil, fmt.Errorf("%s is not a device of rack %s", device, x.rack.Name)
	}
	ports := map[string][]string{}
	switch ask := x.shell.platforms[d.Platform].Neighbours; {
	case ask != nil:
		rows, err := questioned(ctx, x, d, ask, adjacency.Neighbours, x.snmp.Neighbours)
		if err != nil {
			return nil, err
		}
		for _, n := range rows {
			p := x.ports.Port(device, n.Port)
			ports[p.Name] = append(ports[p.Name], x.neighbour(p, n))
		}
	case !x.shell.simulated(d):
		return nil, nil // its platform does not say how its neighbours are asked for
	default:
		rows, err := x.device.Neighbours(ctx, d.Address)
		if err != nil {
			return nil, err
		}
		for _, n := range rows {
			ports[n.Port] = append(ports[n.Port], n.Rack+"/"+n.Device+":"+n.RemotePort)
		}
	}
	var out []rack.Observation
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		heard := ports[port]
		slices.Sort(heard)
		heard = slices.Compact(heard)
		if len(heard) > maxHeard {
			heard = append(heard[:maxHeard], "…")
		}
		out = append(out, rack.Observation{Source: rack.FromLLDP, Device: device, Via: rack.Port{Device: device, Name: port}, Message: strings.Join(heard, ", ")})
	}
	return out, nil
}

// neighbour names a neighbour as NeighbourSeen does: "RACK/DEVICE:PORT" of a device that
// is known, else what it calls itself. A MAC that is known names its device; a name does
// for switches only, which bear the one that they were configured with: that of a server
// may be of its life before.
func (x *executor) neighbour(at rack.Port, n adjacency.Neighbour) string {
	port := n.RemotePort
	if adjacency.MAC(port) != "" && n.Description != "" {
		port = n.Description
	}
	name, _, _ := strings.Cut(strings.ToLower(n.System), ".")
	device := ""
	for _, mac := range []string{n.RemotePort, n.Chassis} {
		if device == "" && adjacency.MAC(mac) != "" {
			device = x.owner(mac)
		}
	}
	for _, l := range x.rack.Links {
		// Another rack has the same names: the cable that leads there tells which is meant.
		to, far, abroad := strings.Cut(strings.TrimPrefix(l.B.Device, "rack:"), "/")
		if device == "" && l.A == at && abroad && strings.HasPrefix(l.B.Device, "rack:") && far == name {
			p := plainName(port)
			if x.ports.Like(l.B.Name, port) {
				p = l.B.Name
			}
			return to + "/" + far + ":" + p
		}
	}
	if d, ok := x.rack.Device(name); ok && device == "" && d.Role.IsSwitch() {
		device = name
	}
	if device == "" {
		who := n.System
		if who == "" {
			who = strings.ReplaceAll(n.Chassis, ":", "-")
		}
		return plainName(strings.ReplaceAll(who, "/", "_")) + ":" + plainName(port)
	}
	return x.rack.Name + "/" + device + ":" + plainName(x.ports.Port(device, port).Name)
}

// owner is the slot that a MAC is known to belong to, or "".
func (x *executor) owner(mac string) string {
	x.mu.Lock()
	b := x.binder
	x.mu.Unlock()
	if b == nil {
		return ""
	}
	return b.Owner(&rack.Observation{MAC: mac})
}

// plainName is a stranger's name without what separates names from each other.
func plainName(s string) string {
	return strings.Map(func(c rune) rune {
		if c > '~' || c <= ' ' || strings.ContainsRune(",:", c) {
			return '_'
		}
		return c
	}, strings.ReplaceAll(s, "…", ""))
}

// MACTable implements actors.Scanner.
func (x *executor) MACTable(ctx context.Context, device string) ([]rack.Observation, error) {
	d, ok := x.rack.Device(device)
	if !ok {
		return nil, fmt.Errorf("%s is not a device of rack %s", device, x.rack.Name)
	}
	ask := x.shell.platforms[d.Platform].MACs
	if ask == nil && !x.shell.simulated(d) {
		return nil, nil // its platform does not say how its table is asked for
	}
	if ask == nil {
		return x.device.MACTable(ctx, d.Address, device)
	}
	rows, err := questioned(ctx, x, d, ask, adjacency.Stations, x.snmp.Stations)
	if err != nil {
		return nil, err
	}
	var out []rack.Observation
	for _, s := range rows {
		out = append(out, rack.Observation{Source: rack.FromMACTable, MAC: s.MAC, Via: x.ports.Port(device, s.Port)})
	}
	return out, nil
}

// questioned asks a switch as its platform says. Why it cannot be asked is logged once.
func questioned[Row any](ctx context.Context, x *executor, d *rack.Device, ask *rack.Ask,
	read func(adjacency.Format, string) ([]Row, error), walk func(context.Context, netip.AddrPort, string) ([]Row, error)) ([]Row, error) {
	rows, err := func() ([]Row, error) {
		if ask.Run == "" {
			community, err := x.shell.community(ask.Community)
			if err != nil {
				return nil, err
			}
			return walk(ctx, netip.AddrPortFrom(d.Address, snmp.Port), community)
		}
		text, err := x.shell.ask(ctx, d, x.life(d).Ticket, ask.Run)
		if err != nil {
			return nil, err
		}
		return read(adjacency.Format(ask.Format), text)
	}()
	if err == nil || ctx.Err() != nil {
		return rows, err
	}
	err = fmt.Errorf("%s: %w", d.Name, err)
	if x.logger != nil && x.isNews(d.Name, err.Error()) {
		x.logger.Warn("the ports of a switch cannot be compared with the rack file", "device", d.Name, "error", err)
	}
	return nil, err
}

// isNews reports, once, that a device cannot be asked for a reason.
func (x *executor) isNews(device, reason string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.Contains(x.told[device], reason) || len(x.told[device]) >= maxTold {
		return false
	}
	if x.told == nil {
		x.told = map[string][]string{}
	}
	x.told[device] = append(x.told[device], reason)
	return true
}

// ask is what a command prints on a device.
func (s *shell) ask(ctx context.Context, d *rack.Device, ticket, command string) (string, error) {
	t, err := s.target(d, ticket)
	if err != nil {
		return "", err
	}
	if t.Life == "" {
		t.Life = "none"
	}
	if before, ok := s.refused.Load([2]string{t.Device, t.Life}); ok {
		return "", before.(error)
	}
	out, err := s.asking.Do(ctx, t, ssh.Exchange{Run: []string{command}, Keep: adjacency.MaxText})
	if errors.Is(err, ssh.ErrLogin) {
		s.refused.Store([2]string{t.Device, t.Life}, err)
	}
	if err != nil {
		return "", err
	}
	return out[0].Text, nil
}

// community is what a reference to one stands for.
func (s *shell) community(reference string) (string, error) {
	if s.key == nil {
		return "", errors.New("the community of its platform: this agent reads none")
	}
	b, err := s.key(reference)
	if err != nil {
		return "", fmt.Errorf("the community of its platform: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
