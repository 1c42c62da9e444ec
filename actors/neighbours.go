package actors

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// round is whom Agent's own scan asks: every ready switch for its neighbours, and for its
// MAC table once all switches are ready, whatever the state of the rack, also once its run has ended. A cable to another
// rack may be plugged at any time.
func (a *Agent) round() (r round) {
	if a.asks && a.run.Status == rack.Draining {
		r.systems = interrupted(a.run, a.born)
	}
	for i := range a.o.Rack.Devices {
		if d := &a.o.Rack.Devices[i]; d.Role.IsSwitch() && a.run.Device(d.Name).Status == rack.Ready {
			r.neighbours = append(r.neighbours, d.Name)
			if a.run.SwitchesReady() {
				r.tables = append(r.tables, d.Name)
			}
		}
	}
	return r
}

// maxPorts bounds the ports of one switch whose neighbours are remembered: more
// than any switch has. What it says of others is dropped.
const maxPorts = 512

// hear journals which ports of a switch hear something else than before, and
// which hear nothing any more. A rack in which nothing changes journals nothing.
func (a *Agent) hear(m *heard) {
	dev, ok := a.o.Rack.Device(m.device)
	if !ok || a.broken || a.run.Device(m.device).Status != rack.Ready {
		return // it starts over: what it heard was heard by the system before
	}
	now := map[rack.Port]string{} // what each port that was ever heard of hears
	for _, p := range a.run.Heard(m.device) {
		now[p] = ""
	}
	for p := range a.listening {
		if p.Device == m.device {
			now[p] = ""
		}
	}
	for _, o := range m.ports {
		if _, known := now[o.Via]; o.Via.Device == m.device && (known || len(now) < maxPorts) {
			now[o.Via] = o.Message
		}
	}
	var events []rack.Event
	for _, p := range slices.SortedFunc(maps.Keys(now), func(x, y rack.Port) int { return cmp.Compare(x.Name, y.Name) }) {
		known, pending := a.listening[p]
		if !pending {
			known = a.run.Neighbour(p)
		}
		if now[p] == known {
			continue
		}
		a.listening[p] = now[p]
		events = append(events, rack.Event{Rack: a.o.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: rack.NeighbourSeen,
			Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromLLDP, Device: dev.Name, Via: p, Message: now[p]}}})
	}
	if len(events) > 0 {
		a.journal(events...)
	}
}

// listened takes in that a neighbour was journalled: the run knows it now.
func (a *Agent) listened(e rack.Event) {
	if o := e.Detail.Seen; o != nil && a.listening[o.Via] == o.Message {
		delete(a.listening, o.Via)
	}
}
