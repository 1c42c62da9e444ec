package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/web"
)

// How often a device is looked at that is waited for: a part of the step's limit, within
// these bounds. lookLimit is for one look.
const (
	lookOften  = 50 * time.Millisecond
	lookSeldom = 2 * time.Second
	lookShare  = 20
	lookLimit  = 5 * time.Second
)

// errNoARP: there is no segment on which anybody could be asked.
var errNoARP = errors.New("ARP is asked on the interface of a real rack only: a simulated rack stands on loopback: leave the step wait: arp out, or image the rack itself")

// until looks again and again until a look is no error, or ctx ends.
func until(ctx context.Context, limit time.Duration, look func(context.Context) error) error {
	tick := time.NewTicker(min(max(limit/lookShare, lookOften), lookSeldom))
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, lookLimit)
		err := look(one)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// awaitPort waits until a device takes a connection at a TCP port.
func (x *executor) awaitPort(ctx context.Context, d *rack.Device, s *rack.Step) error {
	address := net.JoinHostPort(d.Address.String(), strconv.Itoa(int(s.Port)))
	return until(ctx, s.Limit, func(ctx context.Context) error {
		c, err := x.dial(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%s: nothing listens at %s: %w", d.Name, address, err)
		}
		return c.Close()
	})
}

// awaitARP waits until a device says that it has its address.
func (x *executor) awaitARP(ctx context.Context, d *rack.Device, s *rack.Step) error {
	if x.arp == nil {
		return final{errNoARP}
	}
	return until(ctx, s.Limit, func(ctx context.Context) error {
		mac, err := x.arp(ctx, d.Address)
		if err != nil {
			return err
		}
		return x.isOf(d, mac)
	})
}

// isOf says what speaks against a MAC being that of a device: it is another's, or the
// rack file lists the MACs of the device, and neither it nor what was heard at its ports
// is this one.
func (x *executor) isOf(d *rack.Device, mac net.HardwareAddr) error {
	switch owner := x.owner(mac.String()); {
	case owner == d.Name, owner == "" && len(d.MACs) == 0:
		return nil
	case owner != "":
		return fmt.Errorf("%s is answered for by %s, which is %s and not %s: look who has that address", d.Address, mac, owner, d.Name)
	}
	return fmt.Errorf("%s is answered for by %s, which is no MAC of %s: look who has that address; if it is %s all the same, add it to the inventory", d.Address, mac, d.Name, d.Name)
}

// final is an error that no other attempt mends.
type final struct{ error }

// Final says so to the work pool.
func (final) Final() bool { return true }

// Unwrap gives the error.
func (f final) Unwrap() error { return f.error }

// ask sends the request of a step to a device.
func (x *executor) ask(ctx context.Context, d *rack.Device, s *rack.Step) error {
	r, l := s.HTTP, x.life(d)
	t := web.Target{Device: d.Name, Life: l.Ticket, Address: d.Address}
	client := x.web
	if t.Life == "" || s.Phase == rack.Installation {
		t.Life, client = "none", x.webAsking // what answers will be installed anew, or is the installer
	}
	if r.Login {
		if d.Access == nil {
			return fmt.Errorf("%s has no access in the rack file: add access: to it", d.Name)
		}
		var err error
		if t.User, t.Password, err = x.credentials(d.Access.Credentials); err != nil {
			return fmt.Errorf("credentials of the access of %s: %w", d.Name, err)
		}
	}
	v, err := config.New(x.rack, d.Name, l)
	if err != nil {
		return err
	}
	fill := func(what, text string) string {
		out, renderErr := config.Render(what, text, v)
		err = errors.Join(err, renderErr)
		return out
	}
	q := web.Request{Method: r.Method, Scheme: r.Scheme, Port: r.Port, Path: fill("path", r.Path), Body: []byte(fill(r.Name, r.Body)), Type: r.Type, Status: r.Status, Unchecked: r.Unchecked}
	for _, e := range r.Expect {
		q.Expect = append(q.Expect, fill("expect", e))
	}
	if err != nil {
		return fmt.Errorf("platform %s: %w", d.Platform, err)
	}
	if err = client.Do(ctx, t, q); web.Final(err) {
		return final{err}
	}
	return err
}

// arpOn asks on an interface who has an address.
func arpOn(name string, own []netip.Prefix, ask func(ctx context.Context, name string, from, address netip.Addr) (net.HardwareAddr, error)) func(context.Context, netip.Addr) (net.HardwareAddr, error) {
	return func(ctx context.Context, address netip.Addr) (net.HardwareAddr, error) {
		from := netip.IPv4Unspecified() // a probe (RFC 5227 §1.1): the address is of no network of ours
		for _, p := range own {
			if p.Contains(address) {
				from = p.Addr()
			}
		}
		return ask(ctx, name, from, address)
	}
}
