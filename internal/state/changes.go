package state

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Changes says in words how a plan differs from an older one: a line per
// device, and one for what concerns the whole rack. No line: they are the same.
func Changes(old, now *Plan) []string {
	var out []string
	if a, b := *old.Rack, *now.Rack; true {
		a.Devices, b.Devices = nil, nil
		if what := fields("", a, b); len(what) > 0 {
			out = append(out, "the rack: "+strings.Join(what, ", "))
		}
	}
	for i := range old.Rack.Devices {
		if d := &old.Rack.Devices[i]; !has(now.Rack, d.Name) {
			out = append(out, d.Name+": is not in the rack file any more")
		}
	}
	for i := range now.Rack.Devices {
		d := &now.Rack.Devices[i]
		was, ok := old.Rack.Device(d.Name)
		if !ok {
			out = append(out, d.Name+": is new")
			continue
		}
		what := fields("", *was, *d)
		if a, b := image(old, d.Name), image(now, d.Name); a != b {
			what = append(what, fmt.Sprintf("image %s %.19s… instead of %s %.19s…", b.Name, b.Digest, a.Name, a.Digest))
		}
		if !reflect.DeepEqual(old.Platforms[was.Platform], now.Platforms[d.Platform]) && was.Platform == d.Platform {
			what = append(what, "its platform "+d.Platform+" is another")
		}
		if len(what) > 0 {
			out = append(out, d.Name+": "+strings.Join(what, ", "))
		}
	}
	if len(out) == 0 && old.Plan.Hash != now.Plan.Hash {
		out = append(out, "the rack: another version of rackreach carries it out in another way")
	}
	return out
}

func has(r *rack.Rack, device string) bool {
	_, ok := r.Device(device)
	return ok
}

func image(p *Plan, device string) rack.PlannedImage {
	i := slices.IndexFunc(p.Plan.Devices, func(d rack.PlannedDevice) bool { return d.Name == device })
	if i < 0 {
		return rack.PlannedImage{}
	}
	return p.Plan.Devices[i].Image
}

// fields names the fields in which two values of one type differ.
func fields(prefix string, a, b any) []string {
	var out []string
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		p, q := x.Field(i).Interface(), y.Field(i).Interface()
		if reflect.DeepEqual(p, q) {
			continue
		}
		name := prefix + strings.ToLower(x.Type().Field(i).Name)
		if m, ok := p.(*rack.BMC); ok {
			if n := q.(*rack.BMC); m != nil && n != nil {
				out = append(out, fields(name+".", *m, *n)...)
				continue
			}
		}
		out = append(out, fmt.Sprintf("%s %s instead of %s", name, word(q), word(p)))
	}
	return out
}

// word is a value in a message.
func word(v any) string {
	s := fmt.Sprintf("%v", v)
	switch {
	case s == "" || s == "[]" || s == "<nil>" || s == ":":
		return "none"
	case len(s) > 60:
		return s[:57] + "…"
	}
	return s
}
