package messages

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/rack"
)

// FromEvent makes the message of a core event.
func FromEvent(e rack.Event) *Event {
	d := &e.Detail
	return &Event{
		Seq: e.Seq, Time: timestamppb.New(e.Time), Rack: e.Rack, Device: e.Device,
		Role: string(e.Role), Kind: string(e.Kind), Phase: string(e.Phase),
		Detail: &EventDetail{
			Step: d.Step, Attempt: uint32(d.Attempt), Error: d.Error, Next: d.Next, Reason: d.Reason,
			Final: d.Final, Delay: delay(d.Delay), Link: d.Link, Path: d.Path, Ticket: d.Ticket,
			Image: d.Image, Digest: d.Digest, Seen: FromObservation(d.Seen), PlanHash: d.PlanHash,
			Ready: uint32(d.Ready), Failed: uint32(d.Failed), By: d.By, Overwrites: d.Overwrites, Only: d.Only, Run: d.Run, Writing: d.Writing, Order: d.Order,
			Bundle: d.Bundle, SignedBy: d.SignedBy, Recovery: string(d.Recovery), Found: d.Found,
		},
	}
}

func delay(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// ToEvent is the core event of a message. Its error says which field is not in
// the core's words.
func ToEvent(m *Event) (rack.Event, error) {
	d := m.GetDetail()
	seen, err := ToObservation(d.GetSeen())
	if err != nil {
		return rack.Event{}, fmt.Errorf("event %d: %w", m.GetSeq(), err)
	}
	role := rack.Role(m.GetRole())
	if role != "" && !role.Valid() {
		return rack.Event{}, fmt.Errorf("event %d: role %.40q is not a role", m.GetSeq(), m.GetRole())
	}
	return rack.Event{
		Seq: m.GetSeq(), Time: m.GetTime().AsTime(), Rack: m.GetRack(), Device: m.GetDevice(),
		Role: role, Kind: rack.Kind(m.GetKind()), Phase: rack.Phase(m.GetPhase()),
		Detail: rack.Detail{
			Step: d.GetStep(), Attempt: int(d.GetAttempt()), Error: d.GetError(), Next: d.GetNext(), Reason: d.GetReason(),
			Final: d.GetFinal(), Delay: d.GetDelay().AsDuration(), Link: d.GetLink(), Path: d.GetPath(), Ticket: d.GetTicket(),
			Image: d.GetImage(), Digest: d.GetDigest(), Seen: seen, PlanHash: d.GetPlanHash(),
			Ready: int(d.GetReady()), Failed: int(d.GetFailed()), By: d.GetBy(), Overwrites: d.GetOverwrites(), Only: d.GetOnly(), Run: d.GetRun(), Writing: d.GetWriting(), Order: d.GetOrder(),
			Bundle: d.GetBundle(), SignedBy: d.GetSignedBy(), Recovery: rack.Recovery(d.GetRecovery()), Found: d.GetFound(),
		},
	}, nil
}

// FromObservation makes the message of an observation; nil stays nil.
func FromObservation(o *rack.Observation) *Observation {
	if o == nil {
		return nil
	}
	via := ""
	if !o.Via.IsZero() {
		via = o.Via.String()
	}
	return &Observation{
		Source: string(o.Source), Device: o.Device, Mac: o.MAC, Uuid: o.UUID, Via: via, Stage: string(o.Stage),
		Vendor: o.Vendor, Model: o.Model, Serial: o.Serial, Address: o.Address, Proves: string(o.Proves), Message: o.Message, Holds: o.Holds,
	}
}

// ToObservation is the observation of a message; nil stays nil. Its error says
// that the port it came through is not a port.
func ToObservation(m *Observation) (*rack.Observation, error) {
	if m == nil {
		return nil, nil
	}
	var via rack.Port
	if m.GetVia() != "" {
		var err error
		if via, err = rack.ParsePort(m.GetVia()); err != nil {
			return nil, fmt.Errorf("observation: %w", err)
		}
	}
	return &rack.Observation{
		Source: rack.Source(m.GetSource()), Device: m.GetDevice(), MAC: m.GetMac(), UUID: m.GetUuid(), Via: via,
		Stage: rack.Stage(m.GetStage()), Vendor: m.GetVendor(), Model: m.GetModel(), Serial: m.GetSerial(),
		Address: m.GetAddress(), Proves: rack.Evidence(m.GetProves()), Message: m.GetMessage(), Holds: m.GetHolds(),
	}, nil
}

// line is one event in the words and the order that scripts read.
type line struct {
	Seq    uint64     `json:"seq"`
	Time   time.Time  `json:"time"`
	Rack   string     `json:"rack"`
	Device string     `json:"device,omitempty"`
	Role   string     `json:"role,omitempty"`
	Event  string     `json:"event"`
	Phase  string     `json:"phase,omitempty"`
	Detail lineDetail `json:"detail"`
}

type lineDetail struct {
	Step         string    `json:"step,omitempty"`
	Attempt      uint32    `json:"attempt,omitempty"`
	Error        string    `json:"error,omitempty"`
	Next         string    `json:"next,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Final        bool      `json:"final,omitempty"`
	DelaySeconds float64   `json:"delaySeconds,omitempty"`
	Link         string    `json:"link,omitempty"`
	Path         string    `json:"path,omitempty"`
	Ticket       string    `json:"ticket,omitempty"`
	Image        string    `json:"image,omitempty"`
	Digest       string    `json:"digest,omitempty"`
	Seen         *lineSeen `json:"seen,omitempty"`
	PlanHash     string    `json:"planHash,omitempty"`
	Ready        uint32    `json:"ready,omitempty"`
	Failed       uint32    `json:"failed,omitempty"`
	By           string    `json:"by,omitempty"`
	Overwrites   string    `json:"overwrites,omitempty"`
	Only         []string  `json:"only,omitempty"`
	Run          string    `json:"run,omitempty"`
	Writing      bool      `json:"writing,omitempty"`
	Order        string    `json:"order,omitempty"`
	Bundle       string    `json:"bundle,omitempty"`
	SignedBy     string    `json:"signedBy,omitempty"`
	Recovery     string    `json:"recovery,omitempty"`

	Found json.RawMessage `json:"found,omitempty"`
}

type lineSeen struct {
	Source  string `json:"source"`
	MAC     string `json:"mac,omitempty"`
	UUID    string `json:"uuid,omitempty"`
	Via     string `json:"via,omitempty"`
	Stage   string `json:"stage,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Model   string `json:"model,omitempty"`
	Serial  string `json:"serial,omitempty"`
	Address string `json:"address,omitempty"`
	Proves  string `json:"proves,omitempty"`
	Message string `json:"message,omitempty"`
	Holds   string `json:"holds,omitempty"`
}

// JSONLine is an event as one line of JSON, without the line's end.
func JSONLine(e rack.Event) ([]byte, error) {
	m := FromEvent(e)
	d := m.GetDetail()
	l := line{
		Seq: m.GetSeq(), Time: e.Time, Rack: m.GetRack(), Device: m.GetDevice(), Role: m.GetRole(), Event: m.GetKind(), Phase: m.GetPhase(),
		Detail: lineDetail{
			Step: d.GetStep(), Attempt: d.GetAttempt(), Error: d.GetError(), Next: d.GetNext(), Reason: d.GetReason(), Final: d.GetFinal(),
			DelaySeconds: d.GetDelay().AsDuration().Seconds(), Link: d.GetLink(), Path: d.GetPath(), Ticket: d.GetTicket(),
			Image: d.GetImage(), Digest: d.GetDigest(), PlanHash: d.GetPlanHash(), Ready: d.GetReady(), Failed: d.GetFailed(), By: d.GetBy(), Overwrites: d.GetOverwrites(), Only: d.GetOnly(), Run: d.GetRun(), Writing: d.GetWriting(), Order: d.GetOrder(),
			Bundle: d.GetBundle(), SignedBy: d.GetSignedBy(), Recovery: d.GetRecovery(),
		},
	}
	if json.Valid([]byte(d.GetFound())) {
		l.Detail.Found = json.RawMessage(d.GetFound())
	}
	if o := d.GetSeen(); o != nil {
		l.Detail.Seen = &lineSeen{Source: o.GetSource(), MAC: o.GetMac(), UUID: o.GetUuid(), Via: o.GetVia(), Stage: o.GetStage(), Vendor: o.GetVendor(),
			Model: o.GetModel(), Serial: o.GetSerial(), Address: o.GetAddress(), Proves: o.GetProves(), Message: o.GetMessage(), Holds: o.GetHolds()}
	}
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("write event %d as JSON: %w", e.Seq, err)
	}
	return b, nil
}
