package actors

import "github.com/rackreach/rackreach/internal/rack"

// factsPerDevice bounds what is remembered, and therefore journalled, about one
// device between two of its steps; factsOfStrangers the same of all components together
// that fit no single slot. On a segment that racks share these are many, and a device at
// another's port is one of them.
const (
	factsPerDevice   = 64
	factsOfStrangers = 1024
)

// facts remembers what was journalled about each device, so that a device that
// repeats itself, as ONIE does for ever, does not fill the journal. A device
// that starts over may say the same again and mean something new by it: its
// facts are forgotten when a step of it starts or fails, and those of its DHCP
// packets when it fetched or reported something. A packet that came before its
// link was ready opens it when it is repeated: that is news too.
type facts map[string]map[fact]bool

type fact struct {
	source          rack.Source
	mac, address    string
	via             rack.Port
	stage           rack.Stage
	proves          rack.Evidence
	unbound, serial string
}

// isNew reports, once, that an observation says something that is not known.
func (f facts) isNew(o *rack.Observation, unbound string) bool {
	key := fact{o.Source, o.MAC, o.Address, o.Via, o.Stage, o.Proves, unbound, o.Serial}
	known := f[o.Device]
	if known == nil {
		known = map[fact]bool{}
		f[o.Device] = known
	}
	most := factsPerDevice
	if o.Device == "" {
		most = factsOfStrangers
	}
	if known[key] || len(known) >= most {
		return false
	}
	known[key] = true
	return true
}

// recall takes in an event of an earlier life of the agent: what it says is
// known, and what it makes old is forgotten.
func (f facts) recall(e rack.Event) {
	switch e.Kind {
	case rack.Observed:
		f.isNew(e.Detail.Seen, "")
	case rack.ComponentAmbiguous:
		f.isNew(e.Detail.Seen, e.Detail.Reason)
	}
	f.apply(e)
}

// moved forgets what a component that is heard at another port now said elsewhere.
func (f facts) moved(known map[fact]bool, o *rack.Observation) {
	if o.Via.IsZero() || o.MAC == "" {
		return
	}
	for key := range known {
		if key.mac == o.MAC && key.via != o.Via {
			delete(known, key)
		}
	}
}

// apply forgets what an event makes old.
func (f facts) apply(e rack.Event) {
	switch e.Kind {
	case rack.DeviceRetried, rack.ReimageOrdered, rack.DeviceReplaced, rack.DeviceBound:
		f.forget(e.Device)
		f.forget("")
	case rack.DeviceReleased: // what was ambiguous may be so again, and is news then
		f.forget("")
	case rack.StepStarted, rack.StepFailed, rack.TicketIssued, rack.LinkReady:
		f.forget(e.Device)
	case rack.ComponentAmbiguous: // should it be heard at its own port again, that is news
		for _, known := range f {
			f.moved(known, e.Detail.Seen)
		}
	case rack.Observed:
		f.moved(f[""], e.Detail.Seen)
		switch e.Detail.Seen.Source {
		case rack.FromHTTP, rack.FromTFTP:
			for key := range f[e.Device] {
				if key.source == rack.FromDHCP {
					delete(f[e.Device], key)
				}
			}
		}
	}
}

func (f facts) forget(device string) { delete(f, device) }
