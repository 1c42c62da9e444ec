package sim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// conduct is how the installed system of one kind of device behaves, as far as its maker
// or its source says (protocol facts §1b, §2, §6). A device of a platform that has none
// here behaves like the simulation's own system (shell.go, device_api.go).
type conduct struct {
	// machine is how its installer environment and its system name the hardware, where
	// the platform does not.
	machine string
	// ships: the device comes with a system, and has no installer environment.
	ships bool
	// static: once it is provisioned it keeps the address that it was given then.
	static bool
	// identity is what it says of itself by DHCP. Nil: as the simulation's own.
	identity func(*device) identity
	// firstBoot does what the system does with an answer to its DHCP request at its first
	// boot; asked says that the answer named something. Nil: nothing.
	firstBoot func(ctx context.Context, h *host, e *end, l *lease) (asked bool, err error)
	// run carries out a command that is given over SSH; known is false for one that is
	// not this system's own.
	run func(h *shell, command string, c io.ReadWriter) (known bool, err error)
}

// conducts are the kinds of devices, by the name of the platform that images them. Each
// stands in a file of its own.
var conducts = map[string]*conduct{
	"linux-switch": managementLinux,
	"onie":         linuxSwitch,
	"sonic":        sonicSwitch,
	"cumulus":      cumulusSwitch,
	"eos":          eosSwitch,
}

// Conducts lists the platforms whose devices conduct themselves in a way of their own.
func Conducts() []string { return slices.Sorted(maps.Keys(conducts)) }

// provisioned is what a system keeps of its first boot.
type provisioned struct {
	done     bool
	hostname string
	address  netip.Prefix // invalid: by DHCP
	key      string       // that lets somebody in, as in authorized_keys; empty: none
}

// provision asks, as a system does at its first boot, until it was told what to do and
// has done it. It returns when the system goes down, too.
func (y *system) provision(e *end, l *lease, k *conduct) {
	h := y.host
	s := h.dev.sim
	again := s.tempo.scaled(ztpPause, floorDHCP)
	for y.ctx.Err() == nil && !h.readDisk().first.done {
		if l != nil && h.ownsImage() {
			asked, err := k.firstBoot(y.ctx, h, e, l)
			switch {
			case asked && err == nil:
				h.writeDisk(func(x *disk) { x.first.done = true })
				return
			case asked && y.ctx.Err() == nil:
				s.record.add(kindInstallFailed, h.dev.spec.Name, nil, detail{"reason": short(err.Error())})
			}
		}
		if pause(y.ctx, again) != nil {
			return
		}
		var err error
		if l, err = s.acquire(y.ctx, e, k.identity(h.dev), retries{again, again, 3}, never); err != nil {
			l = nil
		}
	}
}

// ownsImage reports whether there is a system to provision.
func (h *host) ownsImage() bool { return h.readDisk().bootable }

// inForce puts a configuration that makes a switch forward between ports in force, as
// the simulation's own configuration does.
func (h *shell) inForce(ports []string) error {
	body, err := h.configOf(ports)
	if err != nil {
		return err
	}
	return h.commit(h.ctx, body, h.address, h.id)
}

func (h *shell) configOf(ports []string) ([]byte, error) {
	if len(ports) > maxPorts {
		return nil, errors.New("too many ports")
	}
	type port struct {
		Name string `json:"name"`
	}
	c := struct {
		Rack   string `json:"rack"`
		Device string `json:"device"`
		Ports  []port `json:"ports"`
	}{h.host.dev.sim.rack.Name, h.host.dev.spec.Name, []port{}}
	for _, p := range ports {
		c.Ports = append(c.Ports, port{p})
	}
	return json.Marshal(c)
}

// named is the name that a system goes by.
func (h *host) named() string {
	if n := h.readDisk().first.hostname; n != "" {
		return n
	}
	return "localhost"
}

func (h *host) rename(name string) {
	h.writeDisk(func(x *disk) { x.first.hostname = name })
}

// shows writes what a command prints. What shows a receipt is noted, and is not the
// truth when the device was told to lie.
func (h *shell) shows(c io.Writer, text string) error {
	_, err := receiptWriter{c, h}.Write([]byte(text))
	return err
}

// lies takes a fault of the verification.
func (d *device) lies() bool { return d.take(rack.Configuration, FaultLie) }
