package rackfile

import (
	"encoding/csv"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Sighting is a component that was seen on the wire, for a draft.
type Sighting struct {
	MAC    string
	Role   rack.Role // "": what it is cannot be said
	BMC    bool      // it is a board controller: of which device is not known
	Serial string
	Via    rack.Port // as option 82 names it; zero: unknown
	Text   string    // what was seen, printable, one line
}

// Draft is what a rack file is drafted from.
type Draft struct {
	Interface string       // that was listened on
	Own       netip.Prefix // its address; invalid: none
	Switch    string       // how the switch at our cable names itself; "": unknown
	Port      string       // our port there; "": unknown
	Taken     []netip.Addr // addresses that somebody has
	Seen      []Sighting
}

// maxDrafted bounds the devices of one role in a draft, so that their addresses fit
// a network of 254.
const maxDrafted = 100

// todo marks what a person has to look at.
const todo = "# TODO"

// Files writes a rack file that is valid, and its inventory, which is named name.
// What was not seen is made up and marked with TODO.
func (d Draft) Files(name string, platforms map[string]rack.Platform) (yaml, inventory []byte) {
	w := &drafter{d: d, platforms: platforms, mgmt: "mgmt-1", names: map[string]bool{}, ports: map[rack.Port]bool{}, taken: map[netip.Addr]bool{}, serials: map[string]bool{}}
	switch {
	case rack.IsName(d.Switch):
		w.mgmt = d.Switch
	default: // switches and BMCs are heard through it, if a port is told at all
		for _, s := range d.Seen {
			if (s.BMC || s.Role == rack.ToRSwitch) && rack.IsName(s.Via.Device) {
				w.mgmt = s.Via.Device
				break
			}
		}
	}
	for _, a := range d.Taken {
		w.taken[a] = true
	}
	w.networks()
	w.head(filepath.Base(name))
	w.devices()
	w.csv.Flush()
	return []byte(w.yaml.String()), []byte(w.inventory.String())
}

type drafter struct {
	d          Draft
	platforms  map[string]rack.Platform
	mgmt       string // the management switch
	management netip.Prefix
	data       netip.Prefix
	names      map[string]bool
	ports      map[rack.Port]bool // that a cable ends at
	taken      map[netip.Addr]bool
	serials    map[string]bool
	yaml       strings.Builder
	inventory  strings.Builder
	csv        *csv.Writer
}

func (w *drafter) line(format string, args ...any) { fmt.Fprintf(&w.yaml, format+"\n", args...) }

// networks takes the interface's own network for the management network.
func (w *drafter) networks() {
	w.management, w.data = netip.MustParsePrefix("192.168.100.0/24"), netip.MustParsePrefix("10.0.1.0/24")
	if own := w.d.Own; own.IsValid() && own.Bits() >= 8 && own.Bits() <= 24 {
		w.management = own.Masked()
		w.taken[own.Addr()] = true
	}
	if w.data.Overlaps(w.management) {
		w.data = netip.MustParsePrefix("172.31.1.0/24")
	}
	if w.data.Overlaps(w.management) {
		w.data = netip.MustParsePrefix("192.0.2.0/24")
	}
}

func (w *drafter) head(inventory string) {
	port, mark := "48", " "+todo+": the port that this machine is plugged into"
	if rack.IsPortName(w.d.Port) {
		port, mark = w.d.Port, " # as the switch says by LLDP"
	}
	w.ports[rack.Port{Device: w.mgmt, Name: port}] = true
	w.line("# A draft, from what was seen on interface %s. Look at every line with TODO, then:", w.d.Interface)
	w.line("# rackreach validate on this file, and rackreach preflight.")
	w.line("apiVersion: %s\nkind: %s", apiVersion, kind)
	w.line("name: r1 %s: the rack's name\nnumber: 1 %s: its number; only rack 2 has inter-rack switches", todo, todo)
	w.line("agent: {cable: %q, interface: %q}%s", w.mgmt+":"+port, w.d.Interface, mark)
	w.line("networks:\n  management: {cidr: %s} %s: check it\n  data: {cidr: %s} %s: the servers' network", w.management, todo, w.data, todo)
	if inventory != "" {
		w.line("inventory: %q", inventory)
	}
	w.csv = csv.NewWriter(&w.inventory)
	w.row(header...)
}

func (w *drafter) row(fields ...string) {
	_ = w.csv.Write(fields) // into memory
}

// devices writes the switches and the servers, each with the reason.
func (w *drafter) devices() {
	of := map[rack.Role][]Sighting{}
	var bmcs, others []Sighting
	for _, s := range w.d.Seen {
		switch {
		case s.BMC:
			bmcs = append(bmcs, s)
		case s.Role == "":
			others = append(others, s)
		case len(of[s.Role]) == maxDrafted:
			w.line("%s: more than %d of this role were seen, and this one is left out: %s", todo, maxDrafted, s.Text)
		default:
			of[s.Role] = append(of[s.Role], s)
		}
	}
	for _, s := range bmcs {
		w.line("%s: a BMC was seen, its device is not known; add its MAC to the row of that device: %s", todo, s.Text)
	}
	for _, s := range others {
		w.line("# Seen, and not a device of a rack as far as its packets say: %s", s.Text)
	}
	w.line("devices:")
	w.switchAtOurCable(of[rack.ManagementSwitch])
	tors := of[rack.ToRSwitch]
	if len(tors) == 0 {
		tors = []Sighting{{Text: "no ToR switch was seen"}}
	}
	var names []string
	for i, s := range tors {
		name := w.name(fmt.Sprintf("tor-%d", i+1))
		names = append(names, name)
		w.line("  - name: %s # %s", name, s.Text)
		w.line("    role: %s\n    platform: %s %s: how it is imaged", rack.ToRSwitch, w.platform(rack.ToRSwitch), todo)
		w.line("    address: %s", w.address(w.management))
		w.line("    management: %s", w.port(s.Via, w.mgmt, "that its management port is cabled to"))
		w.line("    data: %s", w.port(rack.Port{}, w.mgmt, "that its uplink is cabled to"))
		w.known(name, s)
	}
	for i, s := range of[rack.Server] {
		name := w.name(fmt.Sprintf("server-%02d", i+1))
		w.line("  - name: %s # %s", name, s.Text)
		w.line("    role: %s\n    platform: %s %s: how it is imaged", rack.Server, w.platform(rack.Server), todo)
		w.line("    address: %s", w.address(w.data))
		w.line("    bmc: {protocol: ipmi, address: %s, credentials: \"env:RACK_BMC\"} %s: the address of its BMC", w.address(w.management), todo)
		w.line("    management: %s", w.port(rack.Port{}, w.mgmt, "that its BMC is cabled to"))
		tor := names[i%len(names)]
		if slices.Contains(names, s.Via.Device) {
			tor = s.Via.Device
		}
		w.line("    data: %s", w.port(s.Via, tor, "that its NIC is cabled to; a list, if it has more than one"))
		w.known(name, s)
	}
}

func (w *drafter) switchAtOurCable(seen []Sighting) {
	s := Sighting{Text: "the switch at this machine's cable"}
	if len(seen) > 0 {
		s = seen[0]
	}
	w.names[w.mgmt] = true
	w.line("  - name: %s # %s", w.mgmt, s.Text)
	w.line("    role: %s\n    platform: %s %s: how it is imaged", rack.ManagementSwitch, w.platform(rack.ManagementSwitch), todo)
	w.line("    address: %s\n    bmc: {protocol: ipmi, address: %s, credentials: \"env:RACK_BMC\"} %s: the address of its BMC", w.address(w.management), w.address(w.management), todo)
	w.known(w.mgmt, s)
	for _, s := range seen[min(len(seen), 1):] {
		w.line("    %s: a second one was seen, and a rack has one: %s", todo, s.Text)
	}
}

// name is a name that no other device has: a switch may bear one of ours already.
func (w *drafter) name(name string) string {
	for w.names[name] {
		name += "b"
	}
	w.names[name] = true
	return name
}

func (w *drafter) platform(r rack.Role) string {
	for _, n := range slices.Sorted(maps.Keys(w.platforms)) {
		if p := w.platforms[n]; p.Fits(r) && !p.SpeaksSSH() { // how it is logged in to nobody has said
			return n
		}
	}
	return "NONE"
}

// address is the next one of a network that nobody has.
func (w *drafter) address(p netip.Prefix) netip.Addr {
	for a := p.Masked().Addr().Next(); p.Contains(a.Next()); a = a.Next() {
		if !w.taken[a] {
			w.taken[a] = true
			return a
		}
	}
	return netip.Addr{}
}

// port is the one that was seen, or one that is still free, and what to look at.
func (w *drafter) port(seen rack.Port, device, what string) string {
	if seen.Device == device && rack.IsPortName(seen.Name) && !w.ports[seen] {
		w.ports[seen] = true
		return fmt.Sprintf("%q # it was seen through this port", seen)
	}
	for n := 1; ; n++ {
		if p := (rack.Port{Device: device, Name: fmt.Sprint(n)}); !w.ports[p] {
			w.ports[p] = true
			return fmt.Sprintf("%q %s: the port of %s %s", p, todo, device, what)
		}
	}
}

// known puts what is known of a device into the inventory.
func (w *drafter) known(name string, s Sighting) {
	if len(s.Serial) > maxSerial || w.serials[s.Serial] || strings.TrimSpace(s.Serial) != s.Serial {
		s.Serial = ""
	}
	w.serials[s.Serial] = s.Serial != ""
	if s.MAC != "" || s.Serial != "" {
		w.row(name, s.MAC, s.Serial)
	}
}
