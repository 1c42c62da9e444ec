package rackfile

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

var (
	deviceKeys = []string{"name", "role", "platform", "image", "version", "address", "bmc", "management", "data", "access", "install", "protect"}
	bmcKeys    = []string{"protocol", "address", "credentials"}
	accessKeys = []string{"credentials", "key", "port"}
)

// entry is one item of devices or links before its ranges are expanded.
type entry struct {
	at     *place
	count  int // of devices or links that it stands for
	ranges map[string]template
	order  []string // fields of ranges, as they were read
}

func newEntry(line int) *entry {
	return &entry{at: newPlace(line), count: 1, ranges: map[string]template{}}
}

// ranged reads the ranges of a field's text.
func (r *reader) ranged(e *entry, field, s string) {
	if s == "" {
		return
	}
	t, err := parseTemplate(s)
	if err != nil {
		fix := "text without braces"
		if bad := (rangeError{}); errors.As(err, &bad) {
			fix = bad.fix
		}
		r.say(e.at.find(field), fix, "%s: %s", field, err)
		e.at.broken[field] = true
		return
	}
	e.ranges[field] = t
	e.order = append(e.order, field)
}

// inStep holds that every field of an entry counts as many as the leading one,
// and drops those that do not.
func (r *reader) inStep(e *entry, leading string) {
	e.count = max(1, e.ranges[leading].count)
	if e.at.broken[leading] {
		for _, field := range e.order {
			e.at.broken[field] = true
		}
		return
	}
	for _, field := range e.order {
		n := e.ranges[field].count
		if n == e.count || (n == 0 && (e.count == 1 || strings.HasPrefix(e.text(field, 0), "external:"))) {
			continue // many cables may lead to one place outside
		}
		switch {
		case n == 0:
			r.say(e.at.find(field), fmt.Sprintf("a range of %d in %s", e.count, field), "%s counts %d, but %s has no range", leading, e.count, field)
		case e.ranges[leading].count == 0:
			r.say(e.at.find(field), fmt.Sprintf("a range of %d in %s too, or no range", n, leading), "%s counts %d, but %s has no range", field, n, leading)
		default:
			r.say(e.at.find(field), fmt.Sprintf("a range of %d in both: they run in step", e.count), "%s counts %d, but %s counts %d", leading, e.count, field, n)
		}
		e.at.broken[field] = true
		delete(e.ranges, field)
	}
}

// text is the text of a field for the i-th device; "" when it has none.
func (e *entry) text(field string, i int) string {
	t, ok := e.ranges[field]
	if !ok {
		return ""
	}
	return t.at(i)
}

// devices reads the list of devices.
func (r *reader) devices(n *yaml.Node, f *file) {
	if !r.usable(n, "devices") || n.Kind != yaml.SequenceNode {
		if n.Kind != yaml.SequenceNode {
			r.say(n.Line, "a list: each device begins with a hyphen", "devices is not a list")
		}
		f.lost = true
		return
	}
	for _, item := range n.Content {
		r.device(item, f)
	}
}

func (r *reader) device(n *yaml.Node, f *file) {
	e := newEntry(n.Line)
	m := r.mapping(n, e.at, "", "the device", deviceKeys...)
	if m == nil {
		f.lost = true
		return
	}
	r.require(m, e.at, "", "name", "name: and the slot's name, such as tor-1")
	r.require(m, e.at, "", "role", "role: management-switch, tor-switch, inter-rack-switch or server")
	r.require(m, e.at, "", "platform", "platform: and how such a device is imaged")
	r.require(m, e.at, "", "address", "address: and the address it gets")
	for _, key := range []string{"name", "address", "management"} {
		r.ranged(e, key, r.text(m, e.at, "", key))
	}
	cables := r.data(m, e)
	d := rack.Device{
		Role:     rack.Role(r.text(m, e.at, "", "role")),
		Platform: r.text(m, e.at, "", "platform"),
		Image:    r.text(m, e.at, "", "image"),
		Version:  r.text(m, e.at, "", "version"),
		Access:   r.access(m, e),
		Install:  r.install(m, e),
		Protect:  r.boolean(m, e.at, "", "protect"),
	}
	bmc := r.bmc(m, e)
	if e.at.isBroken("name") {
		f.lost = true
		return
	}
	r.inStep(e, "name")
	if len(f.rack.Devices)+e.count > MaxDevices {
		r.say(e.at.find("name"), "a rack file for each rack", "the rack has more than %d devices", MaxDevices)
		f.lost = true
		return
	}
	for i := range e.count {
		f.rack.Devices = append(f.rack.Devices, r.expanded(e, i, d, bmc, cables))
		f.devices = append(f.devices, e.at)
	}
}

// expanded is the i-th device of an entry.
func (r *reader) expanded(e *entry, i int, d rack.Device, bmc *rack.BMC, cables int) rack.Device {
	d.Name = e.text("name", i)
	d.Address = r.address(e, "address", i)
	d.Management = r.portAt(e, "management", i)
	for c := range cables {
		d.Data = append(d.Data, r.portAt(e, fmt.Sprintf("data[%d]", c), i))
	}
	if bmc != nil {
		own := *bmc
		own.Address = r.address(e, "bmc.address", i)
		d.BMC = &own
	}
	return d
}

// data reads one data cable or a list of them, and says how many there are.
func (r *reader) data(m map[string]*yaml.Node, e *entry) int {
	n, ok := m["data"]
	if !ok {
		return 0
	}
	items := []*yaml.Node{n}
	switch {
	case !r.usable(n, "data"):
		e.at.broken["data"] = true
		return 0
	case n.Kind == yaml.SequenceNode:
		items = n.Content
	case n.Kind == yaml.MappingNode:
		r.say(n.Line, `["tor-1:1", "tor-2:1"]`, "data is neither a port nor a list of ports")
		e.at.broken["data"] = true
		return 0
	}
	if len(items) > MaxData {
		r.say(n.Line, fmt.Sprintf("at most %d ports", MaxData), "a device with %d data cables", len(items))
		e.at.broken["data"] = true
		return 0
	}
	for i, item := range items {
		field := fmt.Sprintf("data[%d]", i)
		e.at.lines[field] = item.Line
		s, ok := r.scalar(item, "data")
		e.at.broken[field] = !ok
		r.ranged(e, field, s)
	}
	return len(items)
}

// bmc reads the shared part of the BMCs of an entry.
func (r *reader) bmc(m map[string]*yaml.Node, e *entry) *rack.BMC {
	n, ok := m["bmc"]
	if !ok {
		return nil
	}
	b := r.mapping(n, e.at, "bmc.", "bmc", bmcKeys...)
	if b == nil {
		e.at.broken["bmc"] = true
		return nil
	}
	for _, key := range bmcKeys {
		if _, ok := b[key]; !ok {
			e.at.broken["bmc."+key] = true
			r.say(n.Line, `bmc: {protocol: ipmi, address: …, credentials: "env:NAME"}`, "bmc.%s is missing", key)
		}
	}
	r.ranged(e, "bmc.address", r.text(b, e.at, "bmc.", "address"))
	return &rack.BMC{Protocol: r.text(b, e.at, "bmc.", "protocol"), Credentials: r.text(b, e.at, "bmc.", "credentials")}
}

// access reads how the devices of an entry are logged in to.
func (r *reader) access(m map[string]*yaml.Node, e *entry) *rack.Access {
	n, ok := m["access"]
	if !ok {
		return nil
	}
	a := r.mapping(n, e.at, "access.", "access", accessKeys...)
	if a == nil {
		e.at.broken["access"] = true
		return nil
	}
	if _, ok := a["credentials"]; !ok {
		e.at.broken["access.credentials"] = true
		r.say(n.Line, `access: {credentials: "env:NAME"}`, "access.credentials is missing")
	}
	out := &rack.Access{Credentials: r.text(a, e.at, "access.", "credentials"), Key: r.text(a, e.at, "access.", "key")}
	if n, ok := a["port"]; ok {
		port := r.integer(a, e.at, "port")
		if port < 1 || port > math.MaxUint16 {
			e.at.broken["access.port"] = true
			r.say(n.Line, "a number from 1 to 65535, or leave port out for 22", "access.port is not the number of a port")
		}
		out.Port = uint16(port)
	}
	return out
}

// address reads the address of the i-th device. Each wrong one is said once an
// entry.
func (r *reader) address(e *entry, field string, i int) netip.Addr {
	s := e.text(field, i)
	if s == "" || e.at.broken[field] {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		r.say(e.at.find(field), "an IPv4 address such as 192.168.100.2", "%s: %s is not an address", field, shown(s))
		e.at.broken[field] = true
		return netip.Addr{}
	}
	return a
}

func (r *reader) portAt(e *entry, field string, i int) rack.Port {
	s := e.text(field, i)
	if s == "" || e.at.broken[field] {
		return rack.Port{}
	}
	return r.port(s, e.at, field)
}

// port reads "tor-1:49", "external:datacenter" or "rack:r1/tor-1:49".
func (r *reader) port(s string, at *place, field string) rack.Port {
	cut := strings.IndexByte(s, ':')
	if strings.HasPrefix(s, "rack:") {
		cut = strings.LastIndexByte(s, ':')
	}
	if cut > 0 && cut < len(s)-1 {
		return rack.Port{Device: s[:cut], Name: s[cut+1:]}
	}
	r.say(at.find(field), "DEVICE:PORT, such as mgmt-1:48", "%s: %s is not a port", field, shown(s))
	at.broken[field] = true
	return rack.Port{}
}
