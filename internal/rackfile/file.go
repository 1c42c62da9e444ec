package rackfile

import (
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// file is a rack and where each part of it stands.
type file struct {
	rack    *rack.Rack
	top     *place
	devices []*place // by index in rack.Devices; shared by the devices of one entry
	links   []*place // by index in rack.Links
	vlans   []*place // by index in rack.VLANs

	inventory     string // as the rack file writes it; "" for none
	inventoryPath string // joined with the folder of the rack file
	macLines      [][]int
	serialLines   []int

	lost bool // a device or link could not be read at all
}

var (
	topKeys     = []string{"apiVersion", "kind", "name", "number", "agent", "networks", "services", "dhcp", "vlans", "devices", "links", "inventory"}
	agentKeys   = []string{"cable", "bmcCable", "interface"}
	networkKeys = []string{"management", "data"}
)

// rack reads the whole document.
func (r *reader) rack(root *yaml.Node) *file {
	f := &file{rack: &rack.Rack{}, top: newPlace(root.Line)}
	m := r.mapping(root, f.top, "", "the rack file", topKeys...)
	if m == nil {
		f.lost = true
		return f
	}
	r.header(m, f.top, "apiVersion", apiVersion)
	r.header(m, f.top, "kind", kind)
	r.require(m, f.top, "", "name", "name: and the rack's name, such as r1")
	f.rack.Name = r.text(m, f.top, "", "name")
	r.require(m, f.top, "", "number", "number: and the rack's number, such as 1")
	f.rack.Number = r.integer(m, f.top, "number")
	r.agent(m, f)
	r.networks(m, f)
	r.require(m, f.top, "", "devices", "devices: and a list of them")
	if n, ok := m["services"]; ok {
		r.services(n, f)
	}
	if n, ok := m["dhcp"]; ok {
		if d := r.mapping(n, f.top, "dhcp.", "dhcp", "mode", "authoritative"); d != nil {
			if f.rack.DHCP.Mode = rack.DHCPMode(r.text(d, f.top, "dhcp.", "mode")); f.rack.DHCP.Mode == "addresses" {
				f.rack.DHCP.Mode = rack.DHCPAddresses
			}
			f.rack.DHCP.Authoritative = r.boolean(d, f.top, "dhcp.", "authoritative")
		}
	}
	if n, ok := m["vlans"]; ok {
		r.vlans(n, f)
	}
	if n, ok := m["devices"]; ok {
		r.devices(n, f)
	}
	if n, ok := m["links"]; ok {
		r.links(n, f)
	}
	f.inventory = r.text(m, f.top, "", "inventory")
	return f
}

// header holds that a key has the only value that it may have.
func (r *reader) header(m map[string]*yaml.Node, at *place, key, want string) {
	r.require(m, at, "", key, key+": "+want)
	if s := r.text(m, at, "", key); s != "" && s != want {
		r.say(at.find(key), want, "%s is %s, which this version does not read", key, shown(s))
	}
}

func (r *reader) agent(m map[string]*yaml.Node, f *file) {
	const fix = `agent: {cable: "mgmt-1:48"}, with the port that the agent is plugged into`
	r.require(m, f.top, "", "agent", fix)
	n, ok := m["agent"]
	if !ok {
		return
	}
	a := r.mapping(n, f.top, "agent.", "agent", agentKeys...)
	if a == nil {
		f.top.broken["agent"] = true
		return
	}
	if _, ok := a["cable"]; !ok {
		f.top.broken["agent.cable"] = true
		r.say(n.Line, fix, "agent.cable is missing")
	}
	if s := r.text(a, f.top, "agent.", "cable"); s != "" {
		f.rack.Agent.Cable = r.port(s, f.top, "agent.cable")
	}
	f.rack.Agent.BMCCable = r.text(a, f.top, "agent.", "bmcCable")
	f.rack.Agent.Interface = r.text(a, f.top, "agent.", "interface")
}

func (r *reader) networks(m map[string]*yaml.Node, f *file) {
	r.require(m, f.top, "", "networks", "networks: {management: {cidr: 192.168.100.0/24}, data: {cidr: 10.0.1.0/24}}")
	n, ok := m["networks"]
	if !ok {
		return
	}
	nets := r.mapping(n, f.top, "networks.", "networks", networkKeys...)
	f.top.broken["networks"] = nets == nil
	if nets == nil {
		return
	}
	f.rack.Management, f.rack.ManagementPool, f.rack.ManagementRouter = r.network(n, nets, f.top, "management")
	f.rack.Data, f.rack.DataPool, f.rack.DataRouter = r.network(n, nets, f.top, "data")
}

func (r *reader) network(around *yaml.Node, nets map[string]*yaml.Node, at *place, key string) (cidr netip.Prefix, pool rack.Pool, router netip.Addr) {
	field := "networks." + key
	n, ok := nets[key]
	if !ok {
		at.broken[field] = true
		r.say(around.Line, key+": {cidr: 192.168.100.0/24}", "%s is missing", field)
		return cidr, pool, router
	}
	m := r.mapping(n, at, field+".", field, "cidr", "pool", "strangers", "router")
	if m == nil {
		at.broken[field] = true
		return cidr, pool, router
	}
	cidr, pool = r.cidr(n, m, at, field), r.pool(m, at, field)
	pool.Strangers = r.boolean(m, at, field+".", "strangers")
	if s := r.text(m, at, field+".", "router"); s != "" {
		router = r.server(s, at, field+".router")
	}
	return cidr, pool, router
}

func (r *reader) cidr(around *yaml.Node, m map[string]*yaml.Node, at *place, field string) netip.Prefix {
	at.broken[field] = true // until it is read
	if _, ok := m["cidr"]; !ok {
		r.say(around.Line, "cidr: 192.168.100.0/24", "%s.cidr is missing", field)
		return netip.Prefix{}
	}
	s := r.text(m, at, field+".", "cidr")
	if s == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		r.say(at.find(field+".cidr"), "a network such as 192.168.100.0/24", "%s.cidr: %s is not a network", field, shown(s))
		return netip.Prefix{}
	}
	at.broken[field] = false
	return p
}

// pool reads "10.0.1.200-10.0.1.250".
func (r *reader) pool(m map[string]*yaml.Node, at *place, field string) rack.Pool {
	s := r.text(m, at, field+".", "pool")
	if s == "" {
		return rack.Pool{}
	}
	first, last, _ := strings.Cut(s, "-")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	b, err2 := netip.ParseAddr(strings.TrimSpace(last))
	if err != nil || err2 != nil {
		r.say(at.find(field+".pool"), "FIRST-LAST, such as 10.0.1.200-10.0.1.250", "%s.pool: %s is not a range of addresses", field, shown(s))
		at.broken[field+".pool"], at.broken[field+".strangers"] = true, true
		return rack.Pool{}
	}
	return rack.Pool{First: a, Last: b}
}

// validate asks the core about the rack, and finds the line for each answer.
// Nothing more is said about fields that could not be read.
func (f *file) validate(r *reader, platforms map[string]rack.Platform) {
	for _, p := range rack.Validate(f.rack, platforms) {
		at := f.top
		switch p.Where.List {
		case "devices":
			at = f.devices[p.Where.Index]
		case "links":
			at = f.links[p.Where.Index]
		case "vlans":
			at = f.vlans[p.Where.Index]
		}
		if at.isBroken(p.Where.Field) {
			continue
		}
		name, line := r.file, at.find(p.Where.Field)
		if n := f.inventoryLine(p.Where); n > 0 {
			name, line = f.inventoryPath, n
		}
		r.problems = append(r.problems, Problem{File: name, Line: line, What: p.What, Fix: p.Fix})
	}
}
