package rack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Keys is what a packet or a table row says about who sent it. Every field may
// be empty.
type Keys struct {
	MAC    string // lower case, colon separated
	UUID   string // 32 lower hex digits, wire order of option 97 without its type byte
	Via    Port   // option 82 or a MAC table row: remote-id is the switch's slot name, circuit-id the port
	Direct bool   // came without a relay: from the agent's own cable
	Stage  Stage
	Model  string // ONIE machine or model string
	Serial string // as the vendor strings say it
	Arch   string // of boot firmware, "x86_64-uefi"; it binds nothing

	// Link is an address of the network that the packet came from, as its relay says
	// (giaddr, or RFC 3527); invalid: nothing says. It tells networks apart for
	// components that no slot fits, and never binds one.
	Link netip.Addr
}

// How says by which key a component was bound to its slot.
type How string

// The keys, strongest first.
const (
	ByMAC    How = "mac"
	ByPort   How = "port"
	ByUUID   How = "uuid"
	BySerial How = "serial"
	ByClass  How = "class"

	ByAddress How = "address" // of a BMC: the rack file gives it that address
)

// Binding is the slot that a packet belongs to, and the end of it that spoke.
type Binding struct {
	Device  string
	Network Network // of the cable it came through; Management for a direct packet, empty when nothing says
	Link    Port    // near end of that cable; zero for a direct packet
	How     How
}

// Errors of Bind. Both are wrapped with the reason.
var (
	// ErrUnknown: nothing in the rack file fits. The agent stays silent.
	ErrUnknown = errors.New("no slot of this rack fits")
	// ErrAmbiguous: something fits, but not one slot only, or its keys
	// contradict each other. Nothing is answered until an operator decides.
	ErrAmbiguous = errors.New("ambiguous component")
)

// Binder finds the slot of a packet. It is immutable after NewBinder and safe
// for concurrent use; Learned makes the next one.
type Binder struct {
	rack      *Rack
	platforms map[string]Platform
	mac       map[string]string // MAC → slot: inventory, and what was learned by port
	uuid      map[string]string // machineKey of the UUID → slot
	serial    map[string]string // serial → slot: inventory, and what operators bound
	replaced  map[string]bool   // slots whose inventory is of hardware that is gone
	told      map[string]bool   // MACs that operators bound
	cabling   *Cabling
	bound     map[boundEnd]bool // ends that something was bound to
	deaf      bool              // it learns nothing
}

// boundEnd is a host or its BMC: two components of one slot.
type boundEnd struct {
	device string
	bmc    bool
}

// NewBinder builds the binder of a rack that was validated.
func NewBinder(r *Rack, platforms map[string]Platform) *Binder {
	return newBinder(r, platforms, NewCabling(r))
}

func newBinder(r *Rack, platforms map[string]Platform, cabling *Cabling) *Binder {
	b := &Binder{rack: r, platforms: platforms, mac: map[string]string{}, uuid: map[string]string{}, serial: map[string]string{}, replaced: map[string]bool{},
		cabling: cabling, bound: map[boundEnd]bool{}}
	for i := range r.Devices {
		d := &r.Devices[i]
		for _, m := range d.MACs {
			b.mac[m] = d.Name
		}
		if d.Serial != "" {
			b.serial[d.Serial] = d.Name
		}
	}
	return b
}

// Bound returns a binder that has been told by an operator that a MAC or a
// serial belongs to a slot, whatever was known of them before.
func (b *Binder) Bound(device string, o *Observation) *Binder {
	if b.deaf {
		return b
	}
	n := *b
	if o.MAC != "" {
		n.mac, n.told = cloneWith(b.mac, o.MAC, device), cloneWith(b.told, o.MAC, true)
	}
	if o.Serial != "" {
		n.serial = cloneWith(b.serial, o.Serial, device)
	}
	return &n
}

// Forgotten returns a binder that knows nothing any more of the hardware that
// stood in a slot: neither what was learned nor what the inventory said.
func (b *Binder) Forgotten(device string) *Binder {
	if b.deaf {
		return b
	}
	n := *b
	n.mac, n.uuid, n.serial = without(b.mac, device), without(b.uuid, device), without(b.serial, device)
	n.bound = map[boundEnd]bool{}
	for end := range b.bound {
		if end.device != device {
			n.bound[end] = true
		}
	}
	n.replaced = cloneWith(b.replaced, device, true)
	return &n
}

func without(m map[string]string, device string) map[string]string {
	n := map[string]string{}
	for k, d := range m {
		if d != device {
			n[k] = d
		}
	}
	return n
}

// Owner is the slot that a MAC or a serial is known to belong to, or "".
func (b *Binder) Owner(o *Observation) string {
	if d := b.mac[o.MAC]; d != "" {
		return d
	}
	return b.serial[o.Serial]
}

// Learned returns a binder that also knows the keys of an observation which was
// bound to its slot. The receiver stays as it is.
func (b *Binder) Learned(o *Observation) *Binder {
	if o.Device == "" || b.deaf {
		return b
	}
	newMAC := o.MAC != "" && b.mac[o.MAC] == ""
	uuid := machineKey(o.UUID)
	newUUID := uuid != "" && b.uuid[uuid] == ""
	end := boundEnd{o.Device, o.Stage == StageBMC || o.Source == FromBMC}
	if !newMAC && !newUUID && b.bound[end] {
		return b
	}
	n := *b
	n.bound = cloneWith(b.bound, end, true)
	if newMAC {
		n.mac = cloneWith(b.mac, o.MAC, o.Device)
	}
	if newUUID {
		n.uuid = cloneWith(b.uuid, uuid, o.Device)
	}
	return &n
}

func cloneWith[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	n := make(map[K]V, len(m)+1)
	for a, b := range m {
		n[a] = b
	}
	n[k] = v
	return n
}

// Bind finds the slot that keys belong to: by port, MAC and UUID, which must
// not contradict each other; by class only when exactly one unbound slot of
// that class remains (design §3). It returns ErrUnknown or ErrAmbiguous,
// wrapped.
func (b *Binder) Bind(k Keys) (Binding, error) {
	found, end, err := b.known(k)
	if err != nil {
		return Binding{}, err
	}
	out := Binding{Network: end.Network}
	if k.Via.Device != "" {
		out.Link = k.Via
	}
	if k.Direct {
		out.Network = Management
	}
	if out.Device, out.How, err = agreed(found); err != nil {
		return Binding{}, err
	}
	if out.Device == "" {
		d, err := b.byClass(k)
		if err != nil {
			return Binding{}, err
		}
		out.Device, out.How = d, ByClass
	}
	if err := b.fits(out.Device, k); err != nil {
		return Binding{}, err
	}
	return out, nil
}

// known looks up the keys that name a slot, and the cable that the packet came through.
func (b *Binder) known(k Keys) (found map[How]string, end Cable, err error) {
	found = map[How]string{}
	end, byPort := b.cabling.At(k.Via)
	switch {
	case byPort:
		found[ByPort] = end.Device
	case k.Via.Device != "": // many relays name the port alone: that speaks neither for nor against
		if _, ours := b.rack.Device(k.Via.Device); !ours {
			return nil, end, fmt.Errorf("%w: relayed by %q, which is not a switch of %s", ErrUnknown, k.Via.Device, b.rack.Name)
		}
	}
	if d, ok := b.mac[k.MAC]; ok {
		found[ByMAC] = d
	}
	if d, ok := b.uuid[machineKey(k.UUID)]; ok {
		found[ByUUID] = d
	}
	if d, ok := b.serial[k.Serial]; ok && k.Serial != "" {
		found[BySerial] = d
	}
	return found, end, nil
}

// agreed is the slot that all keys name, and the strongest of them; "" when there
// are none. It returns ErrAmbiguous, wrapped, when they contradict each other.
func agreed(found map[How]string) (device string, by How, err error) {
	for _, how := range []How{ByMAC, ByPort, ByUUID, BySerial, ByAddress} {
		d, ok := found[how]
		if !ok {
			continue
		}
		if device == "" {
			device, by = d, how
		} else if device != d {
			return "", "", fmt.Errorf("%w: its %s says %s, its %s says %s", ErrAmbiguous, by, device, how, d)
		}
	}
	return device, by, nil
}

// BindBMC finds the slot of a BMC that answered at an address: by its MAC, by the
// port that the switch has it at, by its GUID, which is its host's option 97, or by
// the address that the rack file gives it; they must not contradict each other. It is
// not bound by being the only one left: what answers on the management network may be
// the BMC of something that is no device of the rack. It returns ErrUnknown or
// ErrAmbiguous, wrapped.
func (b *Binder) BindBMC(k Keys, at netip.Addr) (Binding, error) {
	found, _, err := b.known(k)
	if err != nil {
		return Binding{}, err
	}
	for i := range b.rack.Devices {
		if d := &b.rack.Devices[i]; d.BMC != nil && d.BMC.Address == at {
			found[ByAddress] = d.Name
		}
	}
	device, by, err := agreed(found)
	if err != nil {
		return Binding{}, err
	}
	if device == "" {
		return Binding{}, fmt.Errorf("%w: neither its MAC nor its port nor its GUID nor its address is known", ErrUnknown)
	}
	if d, ok := b.rack.Device(device); ok && d.BMC == nil {
		return Binding{}, fmt.Errorf("%w: its %s says %s, which has no BMC in the rack file", ErrAmbiguous, by, device)
	}
	return Binding{Device: device, Network: Management, Link: k.Via, How: by}, nil
}

// errSilent is made once: crowds of strangers lead to it.
var errSilent = fmt.Errorf("%w: neither port nor MAC nor UUID is known, and its vendor strings say nothing", ErrUnknown)

// byClass binds by boot stage and machine when only one unbound slot remains
// that such a component could be. A packet from the agent's own cable can only
// be the management switch; one through a switch port that nothing is cabled to
// is nobody we know.
func (b *Binder) byClass(k Keys) (string, error) {
	if k.Stage == StageUnknown || k.Stage == "" {
		return "", errSilent
	}
	if !k.Via.IsZero() {
		return "", fmt.Errorf("%w: nothing is cabled to %s in the rack file", ErrUnknown, k.Via)
	}
	var fit []string
	for i := range b.rack.Devices {
		d := &b.rack.Devices[i]
		if b.bound[boundEnd{d.Name, k.Stage == StageBMC}] || (len(d.MACs) > 0 && !b.replaced[d.Name]) || (k.Direct && d.Role != ManagementSwitch) {
			continue
		}
		if b.fits(d.Name, k) == nil {
			fit = append(fit, d.Name)
		}
	}
	switch len(fit) {
	case 0:
		return "", fmt.Errorf("%w: no unbound slot takes a device in stage %s", ErrUnknown, k.Stage)
	case 1:
		if err := b.another(fit[0], k); err != nil {
			return "", err
		}
		return fit[0], nil
	}
	return "", fmt.Errorf("%w: it could be any of %s", ErrAmbiguous, strings.Join(fit, ", "))
}

// another says that a component is another machine than the one whose BMC a slot has:
// being the only one of its class that asks makes a guest's laptop no switch.
func (b *Binder) another(device string, k Keys) error {
	if machineKey(k.UUID) == "" {
		return nil // it does not say which machine it is
	}
	for _, d := range b.uuid {
		if d == device { // and k.UUID is not that number, or it had been bound by it
			return fmt.Errorf("%w: it is the only one that could be %s, but says that it is the machine %.40s, and the BMC of %s names another: if it is that device all the same, rackreach bind %s MAC", ErrAmbiguous, device, k.UUID, device, device)
		}
	}
	return nil
}

// fits checks what a component says about itself against its slot's platform.
func (b *Binder) fits(device string, k Keys) error {
	d, ok := b.rack.Device(device)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknown, device)
	}
	p := b.platforms[d.Platform]
	if k.Stage != "" && k.Stage != StageUnknown && !slices.Contains(p.Match.Stages, k.Stage) {
		return fmt.Errorf("%w: it is in stage %s, which platform %s of %s does not go through", ErrAmbiguous, k.Stage, p.Name, device)
	}
	if k.Stage == StageONIE && len(p.Match.Machines) > 0 && !slices.Contains(p.Match.Machines, k.Model) {
		return fmt.Errorf("%w: it says it is a %q, platform %s of %s wants %s", ErrAmbiguous, k.Model, p.Name, device, strings.Join(p.Match.Machines, " or "))
	}
	return nil
}
