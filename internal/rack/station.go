package rack

import "maps"

// maxStations bounds the components whose places are remembered; further ones are not.
const maxStations = 4096

// station is where a component was heard last, and whose it is.
type station struct {
	at     Port
	device string // the slot that it belongs to, by what it says of itself
	source Source
	said   string // by which key it is that slot's: "its uuid"; empty: nothing contradicts
	firm   bool   // it says itself whose it is; else it is taken for what should stand there
	seq    uint64
}

// hearStation takes in what an observation says of where a component is. Agent
// journals it with the slot where everything fits, and as ambiguous where the port
// contradicts what the component says of itself.
func (r *Run) hearStation(e Event) {
	o := e.Detail.Seen
	if o == nil || o.Via.IsZero() || o.MAC == "" || r.binder.deaf {
		return // a follower knows nobody by a key
	}
	device, how := r.binder.identity(o)
	if e.Kind == Observed {
		firm := device == e.Device && (how != ByMAC || r.binder.listed(o.MAC, device) || r.binder.told[o.MAC])
		if o.Source == FromDHCP || o.Source == FromMACTable {
			r.place(o.MAC, station{o.Via, e.Device, o.Source, "", firm, e.Seq})
		}
		return
	}
	if device == "" {
		return
	}
	r.place(o.MAC, station{o.Via, device, o.Source, "its " + string(how), true, e.Seq})
	// Its inventory and its port may agree, and the BMC of another slot be its own.
	other, known := r.binder.uuid[machineKey(o.UUID)]
	if c, ok := r.Cabling.At(o.Via); ok && known && how == ByMAC && c.Device == device && other != device {
		if d, ok := r.Rack.Device(other); ok && !d.Management.IsZero() {
			r.place("bmc "+machineKey(o.UUID), station{d.Management, device, FromBMC, "the GUID of that BMC", true, e.Seq})
		}
	}
}

// place remembers where a component is. Who is heard at the port of its own slot, and says
// itself whose it is, shows that the cable there is right now, whoever was heard there
// before.
func (r *Run) place(key string, s station) {
	before, known := r.stations[key]
	if !known && len(r.stations) >= maxStations {
		return
	}
	// What it said at that port holds while it stays: an installed system may say less.
	s.firm = s.firm || before.firm && before.at == s.at && before.device == s.device
	if c, ok := r.Cabling.At(s.at); ok && c.Device == s.device && s.source == FromDHCP && s.firm {
		maps.DeleteFunc(r.stations, func(_ string, x station) bool { return x.at == s.at && x.device != s.device })
	}
	r.stations[key] = s
}

// forgetStations forgets where the components of a slot were heard, and who was heard at
// its ports: somebody has looked at its cables, or its hardware is another.
func (r *Run) forgetStations(device string) {
	maps.DeleteFunc(r.stations, func(_ string, x station) bool {
		c, ok := r.Cabling.At(x.at)
		return x.device == device || ok && c.Device == device
	})
}

// Placed reports whether a component was heard at that port last.
func (r *Run) Placed(mac string, at Port) bool { return r.stations[mac].at == at && mac != "" }

// Behind reports whether a component stands behind a port that the rack file does not
// name, such as one that bundles others: it said at a port of another switch who it is.
func (r *Run) Behind(mac string, p Port) bool {
	_, named := r.Cabling.At(p)
	s, known := r.stations[mac]
	return known && !named && s.firm && s.at.Device != p.Device
}

// identity is whose a component is by what it says of itself, whatever port it is at,
// and by which key: a MAC of the inventory, the UUID that a BMC has told, a serial
// number, a MAC that was heard before.
func (b *Binder) identity(o *Observation) (device string, how How) {
	learned, known := b.mac[o.MAC]
	if known && b.listed(o.MAC, learned) {
		return learned, ByMAC
	}
	if d, ok := b.uuid[machineKey(o.UUID)]; ok {
		return d, ByUUID
	}
	if d, ok := b.serial[o.Serial]; ok && o.Serial != "" {
		return d, BySerial
	}
	return learned, ByMAC
}

// listed reports whether the inventory gives a slot that MAC.
func (b *Binder) listed(mac, device string) bool {
	d, ok := b.rack.Device(device)
	if !ok || b.replaced[device] {
		return false
	}
	for _, m := range d.MACs {
		if m == mac {
			return true
		}
	}
	return false
}

// unlearned returns a binder that has forgotten which MACs a slot was heard with, but for
// those of the inventory and those that operators bound; and, where the BMC that spoke
// for it may be another's, which machine that said it is.
func (b *Binder) unlearned(device string, bmc bool) *Binder {
	if b.deaf {
		return b
	}
	n := *b
	n.mac = maps.Clone(b.mac)
	maps.DeleteFunc(n.mac, func(m, d string) bool { return d == device && !b.told[m] && !b.listed(m, d) })
	if bmc {
		n.uuid = without(b.uuid, device)
	}
	return &n
}

// Trunk reports whether a port carries the packets of many: a cable between switches
// that forwards. What is heard there stands behind it, not at its end.
func (c *Cabling) Trunk(p Port) bool { return c.trunks[p] }
