package config

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/rackreach/rackreach/internal/rack"
)

// Life is which job a device lives by.
type Life struct {
	Run, Ticket string
	Image       rack.Image
}

// Values are what a template is filled in with.
type Values struct {
	Rack, Device, Role string
	Domain             string // empty: none
	FullName           string // device and domain
	Address            string // of the device, without the length of its prefix
	Bits               int    // of the prefix
	Netmask            string
	Network            string // address/bits of the network that it is in
	Router             string // of that network; empty: none
	Agent              string // name of the port that the agent is plugged into, of the management switch only
	DNS, NTP           []string
	Syslog             string // empty: none
	Ports              []Port
	VLAN               int    // that the agent is in, and the address of the device with it; 0: there are none
	VLANs              []VLAN // of the rack
	Run, Ticket        string
	Image, Digest      string
	Version            string // that the installed system is to say of itself; empty: it is not compared
	Receipt            string // the line that the device must keep, and show again
}

// VLAN is one that the rack file names.
type VLAN struct {
	Name string `json:"name"`
	ID   int    `json:"id"`
}

// New is what a device of a validated rack is configured with.
func New(r *rack.Rack, device string, l Life) (*Values, error) {
	d, ok := r.Device(device)
	if !ok {
		return nil, fmt.Errorf("configure %s: no such device in rack %s", device, r.Name)
	}
	prefix := r.Prefix(d.Home())
	v := &Values{Rack: r.Name, Device: d.Name, Role: string(d.Role), Domain: r.Services.Domain, FullName: d.Name, Address: d.Address.String(),
		Bits: prefix.Bits(), Netmask: net.IP(net.CIDRMask(prefix.Bits(), 32)).String(), Network: prefix.Masked().String(),
		DNS: texts(r.Services.DNS), NTP: texts(r.Services.NTP), Run: l.Run, Ticket: l.Ticket, Image: l.Image.Name, Digest: l.Image.Digest, Version: d.Version,
		Receipt: Receipt{r.Name, d.Name, l.Run, l.Ticket, l.Image.Digest}.String()}
	if v.Domain != "" {
		v.FullName += "." + v.Domain
	}
	if router := r.Router(d.Home()); router.IsValid() {
		v.Router = router.String()
	}
	if r.Services.Syslog.IsValid() {
		v.Syslog = r.Services.Syslog.String()
	}
	if d.Role.IsSwitch() {
		v.Ports = Ports(r, d.Name)
	}
	for _, x := range r.VLANs {
		v.VLANs = append(v.VLANs, VLAN{x.Name, x.ID})
	}
	if home := r.HomeVLAN(); home != nil {
		v.VLAN = home.ID
	}
	if r.Agent.Cable.Device == d.Name {
		v.Agent = r.Agent.Cable.Name
	}
	return v, nil
}

func texts(in []netip.Addr) []string {
	out := make([]string, len(in))
	for i, a := range in {
		out[i] = a.String()
	}
	return out
}

// For are the ports of one role, for templates.
func (v *Values) For(role string) (out []Port) {
	for _, p := range v.Ports {
		if p.Role == role {
			out = append(out, p)
		}
	}
	return out
}

// On are the ports of one network, for templates.
func (v *Values) On(network string) (out []Port) {
	for _, p := range v.Ports {
		if p.Network == network {
			out = append(out, p)
		}
	}
	return out
}
