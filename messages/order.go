package messages

import (
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/internal/rack"
)

// VerbApply is the verb of an order that begins a run. It is for the process that
// holds the rack; the core knows no such verb.
const VerbApply = "apply"

// FromOrder makes the message of an order for a rack.
func FromOrder(rackName string, o rack.Order) *Order {
	return &Order{Id: o.ID, Verb: string(o.Verb), Rack: rackName, Device: o.Device, By: o.By, Reason: o.Reason, Mac: o.MAC, Serial: o.Serial, Only: o.Only, All: o.All}
}

// ToOrder is the core's order of a message. What is wrong with it the core says
// when it is to obey it.
func ToOrder(m *Order) rack.Order {
	return rack.Order{ID: m.GetId(), Verb: rack.Verb(m.GetVerb()), Device: m.GetDevice(), By: m.GetBy(), Reason: m.GetReason(), MAC: m.GetMac(), Serial: m.GetSerial(), Only: m.GetOnly(), All: m.GetAll()}
}

// Sum is the SHA-256 of an event. Two copies of an event have the same sum; two
// histories that went apart do not.
func Sum(e *Event) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("sum of event %d: %w", e.GetSeq(), err)
	}
	sum := sha256.Sum256(b)
	return sum[:], nil
}
