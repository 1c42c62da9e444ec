package relay

import (
	"net/netip"
	"strings"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// Ports finds the ports of a rack's cabling. It is immutable and safe for concurrent
// use. A nil one knows none.
type Ports struct {
	byName    map[string]string     // slot of a switch, by its name in lower case
	byMAC     map[string]string     // by MAC of the inventory
	byAddress map[netip.Addr]string // by pre-determined address
	ports     map[string][]port     // by switch
}

// port is one that something is cabled to.
type port struct {
	written string // as the rack file has it
	name    name
	read    bool // name is valid
}

// NewPorts takes the switches and cables of a rack that was validated.
func NewPorts(r *rack.Rack) *Ports {
	p := &Ports{byName: map[string]string{}, byMAC: map[string]string{}, byAddress: map[netip.Addr]string{}, ports: map[string][]port{}}
	known := map[rack.Port]bool{}
	add := func(x rack.Port) {
		if x.IsZero() || x.IsOutside() || known[x] {
			return
		}
		known[x] = true
		n, rest, ok := parseName(x.Name)
		p.ports[x.Device] = append(p.ports[x.Device], port{x.Name, n, ok && rest == ""})
	}
	add(r.Agent.Cable)
	for i := range r.Devices {
		d := &r.Devices[i]
		add(d.Management)
		for _, x := range d.Data {
			add(x)
		}
		if !d.Role.IsSwitch() {
			continue
		}
		p.byName[strings.ToLower(d.Name)] = d.Name
		for _, m := range d.MACs {
			p.byMAC[m] = d.Name
		}
		if d.Address.IsValid() {
			p.byAddress[d.Address] = d.Name
		}
	}
	for _, l := range r.Links {
		add(l.A)
		add(l.B)
	}
	return p
}

// Find is the port that a request came through, in the words of the rack file. What
// cannot be matched with the cabling is told as the relay said it, bounded and
// escaped; the zero Port: it said nothing. giaddr is the relay's address; invalid:
// the switch only snooped.
func (p *Ports) Find(circuit, remote []byte, giaddr netip.Addr) rack.Port {
	said := rack.Port{Device: classify.Printable(remote, classify.MaxString), Name: classify.Printable(circuit, classify.MaxString)}
	if p == nil || len(circuit) == 0 {
		return said
	}
	c, ok := Parse(circuit)
	slot, other := p.which(c, remote, giaddr)
	switch {
	case slot == "":
		return said
	case other != "":
		said.Device = slot + " or " + other // nobody's, then
		return said
	}
	said.Device = slot
	for _, x := range p.ports[slot] {
		if x.written == string(circuit) {
			said.Name = x.written
			return said
		}
	}
	if found := p.match(slot, c); ok && found != "" {
		said.Name = found
	}
	return said
}

// Port is a port of a switch that the switch itself names, in the words of the rack file;
// one that cannot be matched with the cabling stays as it was said.
func (p *Ports) Port(slot, said string) rack.Port {
	if p != nil {
		for _, x := range p.ports[slot] {
			if x.written == said {
				return rack.Port{Device: slot, Name: said}
			}
		}
		if n, rest, ok := parseName(said); ok && rest == "" {
			if found := p.match(slot, Circuit{port: n}); found != "" {
				return rack.Port{Device: slot, Name: found}
			}
		}
	}
	return rack.Port{Device: slot, Name: said}
}

// Like reports whether a port of another rack's switch, written as a rack file does, is
// the one that somebody names.
func (*Ports) Like(written, said string) bool {
	a, restA, okA := parseName(written)
	b, restB, okB := parseName(said)
	return written == said || okA && okB && restA == "" && restB == "" && (b.is(&a) || b.label(&a))
}

// which finds the switch; other is a second one that was said too.
func (p *Ports) which(c Circuit, remote []byte, giaddr netip.Addr) (slot, other string) {
	for _, s := range [...]string{p.named(c.Switch), p.named(string(untyped(remote))), p.mac(remote), p.byAddress[giaddr]} {
		switch {
		case s == "" || s == slot:
		case slot == "":
			slot = s
		default:
			other = s
		}
	}
	return slot, other
}

// named finds a switch by its host name, with or without a domain.
func (p *Ports) named(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	return p.byName[host]
}

func (p *Ports) mac(remote []byte) string {
	m, ok := hardware(remote)
	if !ok {
		return ""
	}
	return p.byMAC[m]
}

// match finds the only port of a switch that fits; "" when none does, or several do.
func (p *Ports) match(slot string, c Circuit) string {
	for _, fits := range []func(*name) bool{c.port.is, c.port.label} {
		found, n := "", 0
		for i := range p.ports[slot] {
			if x := &p.ports[slot][i]; x.read && fits(&x.name) {
				found, n = x.written, n+1
			}
		}
		switch n {
		case 0:
			continue
		case 1:
			return found
		}
		return ""
	}
	return ""
}
