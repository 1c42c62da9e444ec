package rack

import (
	"fmt"
	"net/netip"
	"strings"
)

// Role says what a device is for; the order of imaging follows from it.
type Role string

// The roles of a rack, in the order in which they are imaged.
const (
	ManagementSwitch Role = "management-switch"
	ToRSwitch        Role = "tor-switch"
	InterRackSwitch  Role = "inter-rack-switch"
	Server           Role = "server"
)

// Roles lists every role in the order of imaging.
func Roles() []Role { return []Role{ManagementSwitch, ToRSwitch, InterRackSwitch, Server} }

// IsSwitch reports whether a failure of this role stops the rack.
func (r Role) IsSwitch() bool { return r != Server }

// Valid reports whether r is one of the four roles.
func (r Role) Valid() bool {
	switch r {
	case ManagementSwitch, ToRSwitch, InterRackSwitch, Server:
		return true
	}
	return false
}

// Wave is the place of the role in the order of imaging, from 1.
func (r Role) Wave() int {
	switch r {
	case ManagementSwitch:
		return 1
	case ToRSwitch, InterRackSwitch:
		return 2
	default:
		return 3
	}
}

// Phase is one of the three tasks that each component goes through.
type Phase string

// The phases of a device, in order.
const (
	Discovery     Phase = "discovery"
	Installation  Phase = "installation"
	Configuration Phase = "configuration"
)

// Phases lists the phases in order.
func Phases() []Phase { return []Phase{Discovery, Installation, Configuration} }

// Port is one port of a switch, written "tor-1:49".
type Port struct {
	Device string // slot name of the switch
	Name   string // port name as the switch prints it on its front
}

// String is "device:port".
func (p Port) String() string { return p.Device + ":" + p.Name }

// IsZero reports whether no port was given.
func (p Port) IsZero() bool { return p == Port{} }

// ParsePort reads "device:port". Both parts must be there.
func ParsePort(s string) (Port, error) {
	device, name, ok := strings.Cut(s, ":")
	if !ok || device == "" || name == "" {
		return Port{}, fmt.Errorf("%q is not a port: write DEVICE:PORT, such as mgmt-1:48", s)
	}
	return Port{Device: device, Name: name}, nil
}

// Network names one of the two networks of a rack.
type Network string

// The networks of a rack.
const (
	Management Network = "management"
	Data       Network = "data"
)

// BMC is how the board controller of a device is reached.
type BMC struct {
	Protocol    string     // "ipmi"
	Address     netip.Addr // pre-determined address on the management network
	Credentials string     // a reference, "env:NAME"; never the secret itself
}

// Device is one slot of the rack: a named place with its cables.
type Device struct {
	Name     string
	Role     Role
	Platform string
	Image    string // image name; empty means the platform's own
	// Version is what the installed system must say of itself where its platform asks
	// for that; empty: it is not compared.
	Version string     `json:",omitzero"`
	Address netip.Addr // pre-determined address: management network for switches, data network for servers
	BMC     *BMC       // nil where the device has none

	// Management is the switch port that the device's management end is
	// cabled to (for a server, its BMC's end); zero for the management switch,
	// which hangs on the agent's own cable.
	Management Port
	// Data are the switch ports of the device's data ends, in the order of its NICs.
	Data []Port

	Access *Access `json:",omitempty"` // nil: the installed device is not logged in to

	Install *Install `json:",omitempty"` // nil: the device is not installed by its system's own installer

	Protect bool // true: nothing on this device may ever be overwritten

	MACs   []string // inventory: lower case, colon separated; empty when unknown
	Serial string   // inventory: empty when unknown
}

// LinkKind says what a link between switches is for.
type LinkKind string

// The kinds of links between switches.
const (
	Trunk    LinkKind = "trunk" // the default
	PeerLink LinkKind = "peer"
)

// Link is a cable of the rack file's links section. B may lead outside:
// "external:datacenter" (Port{"external","datacenter"}) or
// "rack:r1/tor-1:49" (Port{"rack:r1/tor-1","49"}).
type Link struct {
	A, B Port
	Kind LinkKind
}

// IsOutside reports whether a port is not of this rack.
func (p Port) IsOutside() bool {
	return p.Device == "external" || strings.HasPrefix(p.Device, "rack:")
}

// Agent says how the agent's machine is cabled.
type Agent struct {
	Cable     Port   // the designated port of the management switch
	BMCCable  string // where the management switch's BMC has a port of its own: the agent's interface for it; else empty
	Interface string // the interface that DHCP binds to; empty in a simulation
}

// Rack is a rack file, read and expanded. Ranges are gone: one Device per slot.
type Rack struct {
	Name       string
	Number     int
	Agent      Agent
	Management netip.Prefix
	Data       netip.Prefix

	// The pools of the two networks; zero: none. A rack without pools has the plan
	// hash that it had before there were any.
	ManagementPool Pool `json:",omitzero"`
	DataPool       Pool `json:",omitzero"`

	// What devices are told besides their address; zero: nothing, and the plan hash
	// that a rack had before it could be said.
	ManagementRouter netip.Addr `json:",omitzero"`
	DataRouter       netip.Addr `json:",omitzero"`
	Services         Services   `json:",omitzero"`
	DHCP             DHCP       `json:",omitzero"`
	VLANs            []VLAN     `json:",omitempty"` // none: switches keep nothing apart

	Devices []Device
	Links   []Link
}

// Device returns the slot of that name.
func (r *Rack) Device(name string) (*Device, bool) {
	for i := range r.Devices {
		if r.Devices[i].Name == name {
			return &r.Devices[i], true
		}
	}
	return nil, false
}

// ManagementSwitchName is the slot of the only management switch, or "".
func (r *Rack) ManagementSwitchName() string {
	for i := range r.Devices {
		if r.Devices[i].Role == ManagementSwitch {
			return r.Devices[i].Name
		}
	}
	return ""
}

// OrNone is p when it names one of the phases, else "".
func (p Phase) OrNone() Phase {
	switch p {
	case Discovery, Installation, Configuration:
		return p
	}
	return ""
}
