package rackfile

import (
	"net/netip"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// services reads the servers that devices are told of, and what ours may take of the
// network.
func (r *reader) services(n *yaml.Node, f *file) {
	m := r.mapping(n, f.top, "services.", "services", "dns", "ntp", "syslog", "domain", "bandwidth")
	if m == nil {
		f.top.broken["services"] = true
		return
	}
	f.rack.Services = rack.Services{DNS: r.servers(m, f.top, "services.", "dns"), NTP: r.servers(m, f.top, "services.", "ntp"), Domain: r.text(m, f.top, "services.", "domain")}
	if s := r.text(m, f.top, "services.", "syslog"); s != "" {
		f.rack.Services.Syslog = r.server(s, f.top, "services.syslog")
	}
	r.bandwidths(m, f)
}

// servers reads one address, or a list of them.
func (r *reader) servers(m map[string]*yaml.Node, at *place, prefix, key string) (out []netip.Addr) {
	n, ok := m[key]
	if !ok {
		return nil
	}
	all, field := []*yaml.Node{n}, prefix+key
	if n.Kind == yaml.SequenceNode {
		if !r.usable(n, field) {
			at.broken[field] = true
			return nil
		}
		all = n.Content
	}
	if len(all) > rack.MaxServers {
		at.broken[field] = true
		r.say(n.Line, "the nearest of them", "%s has %d servers, more than %d", field, len(all), rack.MaxServers)
		return nil
	}
	for _, x := range all {
		s, ok := r.scalar(x, field)
		if !ok {
			at.broken[field] = true
			continue
		}
		if a := r.server(s, at, field); a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// server reads the address of a machine.
func (r *reader) server(s string, at *place, field string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		at.broken[field] = true
		r.say(at.find(field), "an IPv4 address, such as 192.168.100.10", "%s: %s is not an address", field, shown(s))
		return netip.Addr{}
	}
	return a
}
