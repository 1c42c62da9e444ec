package rackfile

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

var (
	installKeys = []string{"installer", "kernel", "template", "source", "disk", "passwordHash", "keys", "static", "grow", "bootEntry", "seed"}
	diskKeys    = []string{"path", "serial", "minSize", "maxSize"}
)

// maxItems bounds the items of a short list.
const maxItems = 64

// install reads how the devices of an entry are installed.
func (r *reader) install(m map[string]*yaml.Node, e *entry) *rack.Install {
	n, ok := m["install"]
	if !ok {
		return nil
	}
	x := r.mapping(n, e.at, "install.", "install", installKeys...)
	if x == nil {
		e.at.broken["install"] = true
		return nil
	}
	if _, ok := x["installer"]; !ok {
		e.at.broken["install.installer"] = true
		r.say(n.Line, "installer: disk-image, esxi, kickstart, preseed or autoinstall", "install.installer is missing")
	}
	out := &rack.Install{
		Installer: rack.Installer(r.text(x, e.at, "install.", "installer")), Kernel: r.text(x, e.at, "install.", "kernel"),
		Template: r.text(x, e.at, "install.", "template"), Source: r.text(x, e.at, "install.", "source"),
		PasswordHash: r.text(x, e.at, "install.", "passwordHash"), Keys: r.texts(x, e.at, "install.", "keys"), Static: r.boolean(x, e.at, "install.", "static"),
		Grow: r.boolean(x, e.at, "install.", "grow"), BootEntry: r.text(x, e.at, "install.", "bootEntry"), Seed: r.integer(x, e.at, "seed"),
	}
	d, ok := x["disk"]
	if !ok {
		return out
	}
	rule := r.mapping(d, e.at, "install.disk.", "install.disk", diskKeys...)
	if rule == nil {
		e.at.broken["install.disk"] = true
		return out
	}
	out.Disk = rack.DiskRule{
		Path: r.text(rule, e.at, "install.disk.", "path"), Serial: r.text(rule, e.at, "install.disk.", "serial"),
		MinSize: r.size(rule, e.at, "install.disk.", "minSize"), MaxSize: r.size(rule, e.at, "install.disk.", "maxSize"),
	}
	return out
}

// texts reads a list of texts, or a single one.
func (r *reader) texts(m map[string]*yaml.Node, at *place, prefix, key string) (out []string) {
	n, ok := m[key]
	if !ok {
		return nil
	}
	field := prefix + key
	at.broken[field] = true // until it is read
	if !r.usable(n, field) {
		return nil
	}
	items := []*yaml.Node{n}
	switch {
	case n.Kind == yaml.SequenceNode:
		items = n.Content
	case n.Kind == yaml.MappingNode:
		r.say(n.Line, "a list of texts", "%s is not a list", field)
		return nil
	}
	if len(items) > maxItems {
		r.say(n.Line, "a shorter list", "%s has more than %d items", field, maxItems)
		return nil
	}
	for i, item := range items {
		s, ok := r.scalar(item, field)
		if !ok {
			return nil
		}
		at.lines[field+"["+strconv.Itoa(i)+"]"] = item.Line
		out = append(out, s)
	}
	at.broken[field] = false
	return out
}

// sizeUnits are those that disks are sold and counted in.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}}

// size reads "480GB" or "400GiB", in bytes.
func (r *reader) size(m map[string]*yaml.Node, at *place, prefix, key string) int64 {
	s := r.text(m, at, prefix, key)
	if s == "" {
		return 0
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 32); err == nil && n > 0 && n < 1<<20 {
			return n * u.bytes
		}
		break
	}
	r.say(at.find(prefix+key), "a size such as 480GB, 400GiB or 2TB", "%s: %s is not a size", prefix+key, shown(s))
	at.broken[prefix+key] = true
	return 0
}
