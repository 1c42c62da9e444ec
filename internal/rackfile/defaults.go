package rackfile

import (
	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// defaults are what the rack files of a fleet may leave out.
type defaults struct {
	platforms map[string]defaultValue // by role
	images    map[string]defaultValue // by role
	bmc       map[string]defaultValue // protocol and credentials
	broken    bool                    // some could not be read: what a rack file leaves out may be one of these
}

// defaultValue is a default and where it stands. An empty text is none.
type defaultValue struct {
	text string
	file string
	line int
}

var (
	defaultsKeys    = []string{"platforms", "images", "bmc"}
	defaultsBMCKeys = []string{"protocol", "credentials"}
)

func (d *defaults) platform(role string) defaultValue { return d.of(role, "platforms") }
func (d *defaults) image(role string) defaultValue    { return d.of(role, "images") }
func (d *defaults) protocol() defaultValue            { return d.of("protocol", "bmc") }
func (d *defaults) credentials() defaultValue         { return d.of("credentials", "bmc") }

func (d *defaults) isBroken() bool { return d != nil && d.broken }

func (d *defaults) of(key, section string) defaultValue {
	if d == nil {
		return defaultValue{}
	}
	return map[string]map[string]defaultValue{"platforms": d.platforms, "images": d.images, "bmc": d.bmc}[section][key]
}

// readDefaults reads a defaults mapping; what it leaves out is that of before.
func (r *reader) readDefaults(n *yaml.Node, at *place, before *defaults, platforms map[string]rack.Platform) *defaults {
	m := r.mapping(n, at, "defaults.", "defaults", defaultsKeys...)
	d := &defaults{broken: m == nil || before.isBroken()}
	var roles []string
	for _, role := range rack.Roles() {
		roles = append(roles, string(role))
	}
	section := func(name string, known []string) map[string]defaultValue {
		out := map[string]defaultValue{}
		for _, key := range known {
			out[key] = before.of(key, name)
		}
		inner, ok := m[name]
		if !ok {
			return out
		}
		prefix := "defaults." + name + "."
		values := r.mapping(inner, at, prefix, "defaults."+name, known...)
		d.broken = d.broken || values == nil
		for _, key := range known {
			if s := r.text(values, at, prefix, key); s != "" {
				out[key] = defaultValue{s, r.file, at.find(prefix + key)}
			}
			d.broken = d.broken || at.broken[prefix+key]
		}
		return out
	}
	d.platforms, d.images, d.bmc = section("platforms", roles), section("images", roles), section("bmc", defaultsBMCKeys)
	r.checkDefaults(d, platforms)
	return d
}

// checkDefaults says what is wrong with defaults whether a device uses them or
// not, in the words of rack.Validate, so that nothing is said twice.
func (r *reader) checkDefaults(d *defaults, platforms map[string]rack.Platform) {
	probe := rack.Rack{Name: "probe", Number: rack.InterRackNumber}
	var fields []map[string]defaultValue // by device of the probe
	for _, role := range rack.Roles() {
		dev := rack.Device{Name: string(role), Role: role, Platform: d.platform(string(role)).text, Image: d.image(string(role)).text}
		if role == rack.ManagementSwitch {
			dev.BMC = &rack.BMC{Protocol: d.protocol().text, Credentials: d.credentials().text}
		}
		probe.Devices = append(probe.Devices, dev)
		fields = append(fields, map[string]defaultValue{"platform": d.platform(string(role)), "image": d.image(string(role)), "bmc.protocol": d.protocol(), "bmc.credentials": d.credentials()})
	}
	for _, p := range rack.Validate(&probe, platforms) {
		if p.Where.List != "devices" {
			continue
		}
		if v := fields[p.Where.Index][p.Where.Field]; v.text != "" {
			r.problems = append(r.problems, Problem{File: v.file, Line: v.line, What: p.What, Fix: p.Fix})
		}
	}
}

// orDefault reads a field that is text; one that is not there has the default.
func (r *reader) orDefault(m map[string]*yaml.Node, at *place, prefix, key string, d defaultValue) string {
	if _, ok := m[key]; ok || d.text == "" {
		return r.text(m, at, prefix, key)
	}
	at.filled[prefix+key] = d
	return d.text
}
