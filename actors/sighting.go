package actors

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/messages"
)

// Sighting is what the coordinators of a cluster tell each other of the agent of a rack:
// the one that it is connected to tells the others, and whoever is started later.
type Sighting struct {
	Connected      bool      `json:"connected"`
	Epoch          uint64    `json:"epoch"` // that it writes in
	Version        string    `json:"version,omitempty"`
	MetricsAddress string    `json:"metricsAddress,omitempty"`
	Driven         bool      `json:"driven,omitempty"`
	LastSeq        uint64    `json:"lastSeq"` // newest event of its journal
	Heard          time.Time `json:"heard"`
}

// sightEvery is how often what an agent says is told although it says nothing new but
// that it lives, and where its journal ends.
const sightEvery = time.Minute

// maxSaid bounds, in bytes, what is told of an agent's own words.
const maxSaid = 255

// said is an agent's own word, if it is of a sane length.
func said(s string) string {
	if len(s) > maxSaid {
		return ""
	}
	return s
}

// AgentSeen is what another coordinator, or an earlier life of this one, tells of the
// agent of a rack; nil: nothing any more. Connected: to another coordinator that lives.
type AgentSeen struct {
	Rack     string
	Sighting *Sighting
	Own      bool // this life of this coordinator told it
}

// isSeen takes in what was told of the agent. One that is connected here, and nowhere
// else by what was told last, was overtaken by the word of the coordinator before.
func (p *rackProxy) isSeen(m *AgentSeen) {
	p.seen = m.Sighting
	if p.line != nil && m.Sighting != nil && !m.Sighting.Connected && !m.Own {
		p.sighted = Sighting{}
		p.sight()
	}
	p.tell()
}

// sight tells the other coordinators of the agent, when there is something to tell.
func (p *rackProxy) sight() {
	if p.o.Sight == nil || p.hello == nil {
		return
	}
	s := Sighting{Connected: p.line != nil, Epoch: p.lineEpoch, Version: said(p.hello.GetVersion()), MetricsAddress: said(p.hello.GetMetricsAddress()),
		Driven: p.line != nil && p.beat.GetDriven(), LastSeq: p.lastSeq(), Heard: p.heard}
	same := s
	same.LastSeq, same.Heard = p.sighted.LastSeq, p.sighted.Heard
	if same == p.sighted && s.Heard.Sub(p.sighted.Heard) < sightEvery {
		return
	}
	p.sighted = s
	p.o.Sight(p.name, s)
}

// lastSeq is the newest event of the agent's journal, by its own word.
func (p *rackProxy) lastSeq() uint64 {
	if p.beat != nil {
		return p.beat.GetLastSeq()
	}
	return p.hello.GetLastSeq()
}

// elsewhere is what others told of the agent, if it is newer than what is known here.
func (p *rackProxy) elsewhere() *Sighting {
	if p.line != nil || p.seen == nil || !p.seen.Connected && !p.seen.Heard.After(p.heard) {
		return nil
	}
	return p.seen
}

// agent is the agent of the rack, wherever it is connected.
func (p *rackProxy) agent() *messages.AgentState {
	a := &messages.AgentState{Connected: p.line != nil, Epoch: p.epoch, Version: p.hello.GetVersion(), MetricsAddress: p.hello.GetMetricsAddress(),
		Driven: p.line != nil && p.beat.GetDriven()}
	last, heard := p.lastSeq(), p.heard
	if s := p.elsewhere(); s != nil {
		a.Connected, a.Version, a.MetricsAddress, a.Driven = s.Connected, s.Version, s.MetricsAddress, s.Connected && s.Driven
		last, heard = s.LastSeq, s.Heard
	}
	if last > p.head {
		a.Lag = last - p.head
	}
	if !heard.IsZero() {
		a.LastHeard = timestamppb.New(heard)
	}
	return a
}
