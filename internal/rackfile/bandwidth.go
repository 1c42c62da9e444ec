package rackfile

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// bandwidths reads bounds of what images take of the network.
func (r *reader) bandwidths(services map[string]*yaml.Node, f *file) {
	b, ok := services["bandwidth"]
	if !ok {
		return
	}
	const field = "services.bandwidth"
	w := r.mapping(b, f.top, field+".", field, "rack", "device")
	f.rack.Services.Bandwidth.Rack = r.bandwidth(w, f.top, field+".", "rack")
	f.rack.Services.Bandwidth.Device = r.bandwidth(w, f.top, field+".", "device")
}

// bandwidth reads "10Gbit/s" or "2500Mbit/s", in bits a second; 0: it is not there.
func (r *reader) bandwidth(m map[string]*yaml.Node, at *place, prefix, key string) int64 {
	s := r.text(m, at, prefix, key)
	if s == "" {
		return 0
	}
	digits, times := s, int64(0)
	for _, u := range []struct {
		name string
		bits int64
	}{{"Gbit/s", 1_000_000_000}, {"Mbit/s", 1_000_000}} {
		if cut, ok := strings.CutSuffix(s, u.name); ok {
			digits, times = cut, u.bits
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || times == 0 || n == 0 {
		r.say(at.find(prefix+key), "10Gbit/s or 500Mbit/s, whole numbers", "%s%s: %s is not a bandwidth", prefix, key, shown(s))
		at.broken[prefix+key] = true
		return 0
	}
	return int64(n) * times
}
