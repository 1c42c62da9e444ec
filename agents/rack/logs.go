package rackagent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/syslog"
)

// listenToLogs receives what devices log until ctx ends; the channel gets one word on
// how it ended. Without logs a rack is imaged all the same, so a receiver that fails
// ends nothing.
func (a *Agent) listenToLogs(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	if a.o.Syslog == nil {
		ended <- nil
		return ended
	}
	r := syslog.New(syslog.Options{
		Device: a.deviceAt,
		Line: func(device string, from netip.Addr, l syslog.Line) {
			o := rack.Observation{Source: rack.FromSyslog, Device: device, Address: from.String(), Message: l.String()}
			proves := a.awaited(device, from, l)
			for _, o.Proves = range proves {
				a.publish(o)
			}
			if len(proves) == 0 {
				a.publish(o)
			}
		},
		Awaited: func(device string, from netip.Addr, l syslog.Line) bool { return len(a.awaited(device, from, l)) > 0 },
		Count:   func(o syslog.Outcome) { a.metrics.lines.WithLabelValues(a.o.Rack.Name, string(o)).Inc() },
	})
	go func() {
		err := r.Serve(ctx, a.o.Syslog)
		if err != nil {
			a.o.Logger.Error("what devices log is not received any more", "error", err)
			err = fmt.Errorf("logs of devices: %w", err)
		}
		ended <- err
	}()
	return ended
}

// awaited are the evidence that a line is, if steps of the device's platform wait for it.
// What a BMC logs says nothing of the system beside it.
func (a *Agent) awaited(device string, from netip.Addr, l syslog.Line) (proves []rack.Evidence) {
	d, ok := a.o.Rack.Device(device)
	if !ok || d.BMC != nil && d.BMC.Address == from {
		return nil
	}
	p := a.o.Platforms[d.Platform]
	for _, text := range p.Lines() {
		if e := rack.Said(text); strings.Contains(l.String(), text) && !slices.Contains(proves, e) {
			proves = append(proves, e)
		}
	}
	return proves
}

// installerSaid journals a line of rackreach's own installer, as those of logs.
func (a *Agent) installerSaid(t boot.Ticket, remote, line string) {
	if from, err := netip.ParseAddrPort(remote); err == nil {
		remote = from.Addr().String()
	}
	a.publish(rack.Observation{Source: rack.FromInstaller, Device: t.Device, Address: remote, Message: line})
}

// deviceAt is whose address it is: that of a lease of one of its ends, or one that the
// rack file gives it.
func (a *Agent) deviceAt(at netip.Addr) (string, bool) {
	if l, ok := a.leases.At(at); ok && l.State == lease.Bound && l.Holder.Slot != "" {
		return l.Holder.Slot, true
	}
	for i := range a.o.Rack.Devices {
		d := &a.o.Rack.Devices[i]
		if d.Address == at || d.BMC != nil && d.BMC.Address == at {
			return d.Name, true
		}
	}
	return "", false
}
