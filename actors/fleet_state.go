package actors

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// Reading is the status of a rack of which the coordinator, after its start, has not
// read yet what it did, and of a fleet with such a rack.
const Reading = "reading"

// stands is where one rack stands, as its RackProxy tells the Fleet. Only the Fleet
// changes it once it was sent.
type stands struct {
	rack    string
	known   bool // the log was read to its end
	status  rack.Status
	orders  []string // ids of those that are not answered
	refused string   // id of the last one of a fleet that was refused
	message *messages.FleetRack
	devices map[DeviceCount]int // not to be changed
	ended   time.Duration       // how long the last run took; 0: it has not ended
	ends    *fleet.Member       // what its inter-rack links need to be judged; nil: nothing is planned
}

// matters reports whether the rules of a fleet may decide otherwise than before: most
// that a rack tells is of its devices, and there are many racks.
func (s *stands) matters(before *stands) bool {
	return s.known != before.known || s.status != before.status || s.refused != before.refused || !slices.Equal(s.orders, before.orders) ||
		s.message.GetAgent().GetConnected() != before.message.GetAgent().GetConnected()
}

// DeviceCount is a role and where a device of it stands.
type DeviceCount struct {
	Role   rack.Role
	Status string
}

// RackCount is what the metrics say of one rack.
type RackCount struct {
	Rack      string
	Status    rack.Status // empty: it is not known yet
	Connected bool
	Lag       uint64
	Orders    int
	Heard     time.Time     // zero: never
	Started   time.Time     // when its last run was begun; zero: it has none
	Run       time.Duration // of its last run; 0: it has not ended
}

// Counts are what the metrics say of a fleet.
type Counts struct {
	Racks     []RackCount
	Devices   map[DeviceCount]int
	Backplane map[rack.LinkState]int
}

// standing is where this rack stands.
func (p *rackProxy) standing() *stands {
	s := &stands{rack: p.name, known: p.isTold && p.whole && (p.lost || !p.unread()), status: rack.Idle}
	m := &messages.FleetRack{Name: messages.RackName(p.name), Agent: p.agent(), LastSeq: p.head, PlanHash: p.planned}
	if p.asleep != nil {
		m.LastSeq = p.asleep.saved.Followed // what has come since is not in the row yet
	}
	for _, x := range p.orders {
		s.orders = append(s.orders, x.order.GetId())
	}
	m.Orders, s.refused = uint32(len(p.orders)), p.refused
	if r := p.row(); r != nil {
		s.status, s.devices, s.ends = r.status, r.counts, r.ends
		m.Ready, m.Failed, m.Skipped, m.Progress, m.Devices = r.ready, r.failed, r.skipped, r.progress, r.devices
		m.Cause, m.Bundle, m.SignedBy = r.cause, r.bundle, r.signedBy
		if r.planHash != "" {
			m.PlanHash = r.planHash
		}
	}
	m.Status = string(s.status)
	if !s.known {
		m.Status = Reading
	}
	if p.lost {
		m.Cause = "what it did cannot be read from the log, or its plan is not known: see the coordinator's messages"
	}
	if !p.life.started.IsZero() {
		m.Started = timestamppb.New(p.life.started)
	}
	if !p.life.ended.IsZero() {
		m.Ended = timestamppb.New(p.life.ended)
		s.ended = p.life.ended.Sub(p.life.started)
	}
	s.message = m
	return s
}

// state is where the whole fleet stands.
func (f *Fleet) state() *messages.Fleet {
	out := &messages.Fleet{Status: string(rack.Idle)}
	var states []fleet.State
	if d := f.desired; d != nil {
		out.Name, out.AtOnce, out.HaltAfter, out.Cause = d.Spec.Name, uint32(d.Spec.AtOnce), uint32(d.Spec.HaltAfter), d.Halted
		states = f.states()
	}
	links := f.backplane()
	for _, name := range f.names() {
		m := &messages.FleetRack{Name: messages.RackName(name), Status: string(rack.Idle), Agent: &messages.AgentState{}}
		if r := f.racks[name]; r != nil {
			m = r.stand.message
		}
		if f.waits(name, m) {
			w := &messages.FleetRack{Name: m.Name, Status: "waiting", Devices: m.Devices, PlanHash: f.desired.Plans[name], LastSeq: m.LastSeq, Agent: m.Agent, Orders: m.Orders}
			m = w
		}
		out.Racks = append(out.Racks, m)
	}
	for _, l := range links {
		out.Backplane = append(out.Backplane, &messages.BackplaneLink{A: l.A, B: l.B, State: string(l.State), Note: l.Note})
	}
	if f.desired != nil {
		out.Status = string(fleet.Status(f.desired.Spec, states, links, f.desired.Halted != ""))
	}
	if !f.caughtUp || slices.ContainsFunc(out.Racks, func(m *messages.FleetRack) bool { return m.Status == Reading }) {
		out.Status = Reading
	}
	return out
}

// waits reports whether the turn of a rack has not come.
func (f *Fleet) waits(name string, m *messages.FleetRack) bool {
	return f.desired != nil && m.GetStatus() == string(rack.Idle) && slices.Contains(f.desired.Spec.Racks, name)
}

// backplane is every link between two racks, and how it stands.
func (f *Fleet) backplane() []fleet.Link {
	var members []*fleet.Member
	for _, name := range f.names() {
		if r := f.racks[name]; r != nil && r.stand.ends != nil {
			members = append(members, r.stand.ends)
		}
	}
	return fleet.Backplane(members)
}

// counts are for the metrics.
func (f *Fleet) counts() Counts {
	out := Counts{Devices: map[DeviceCount]int{}, Backplane: map[rack.LinkState]int{}}
	for _, name := range f.names() {
		r := f.racks[name]
		if r == nil {
			continue
		}
		m := r.stand.message
		c := RackCount{Rack: name, Connected: m.GetAgent().GetConnected(), Lag: m.GetAgent().GetLag(), Orders: len(r.stand.orders), Run: r.stand.ended}
		if r.stand.known {
			c.Status = r.stand.status
		}
		if at := m.GetAgent().GetLastHeard(); at != nil {
			c.Heard = at.AsTime()
		}
		if at := m.GetStarted(); at != nil {
			c.Started = at.AsTime()
		}
		out.Racks = append(out.Racks, c)
		for k, n := range r.stand.devices {
			out.Devices[k] += n
		}
	}
	for _, l := range f.backplane() {
		out.Backplane[l.State]++
	}
	return out
}
