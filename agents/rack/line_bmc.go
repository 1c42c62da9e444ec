package rackagent

import (
	"context"
	"fmt"
	"net"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// fitBMC says what speaks against the interface that the BMC of the management switch is
// cabled to, where it has a port of its own: it is spoken to from there, and nothing is
// served there.
func fitBMC(r *rack.Rack) error {
	name := r.Agent.BMCCable
	if name == "" {
		return nil
	}
	if name == r.Agent.Interface {
		return fmt.Errorf("agent.bmcCable of the rack file is agent.interface itself, %s: leave bmcCable out", name)
	}
	d, ok := r.Device(r.ManagementSwitchName())
	if !ok || d.BMC == nil {
		return nil
	}
	link, err := wire.Inspect(name)
	if err != nil {
		return fmt.Errorf("agent.bmcCable: %w", err)
	}
	if !link.Up {
		return fmt.Errorf("interface %s, to the BMC of %s, is switched off: ip link set %s up", name, d.Name, name)
	}
	if _, ok := link.In(r.Management); !ok {
		return fmt.Errorf("interface %s, to the BMC of %s, has no address in the management network: ip addr add ADDRESS/32 dev %s, and ip route add %s dev %s", name, d.Name, name, d.BMC.Address, name)
	}
	return nil
}

// dialer connects to devices through the interface that they hang on: all of them on that
// which is served, but the BMC of the management switch, where that has a port of its own.
func (l *Line) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := wire.Dialer(l.link.Name)
	d, ok := l.rack.Device(l.rack.ManagementSwitchName())
	if l.rack.Agent.BMCCable == "" || !ok || d.BMC == nil {
		return dial
	}
	apart := wire.Dialer(l.rack.Agent.BMCCable)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && host == d.BMC.Address.String() {
			return apart(ctx, network, address)
		}
		return dial(ctx, network, address)
	}
}
