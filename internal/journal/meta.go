package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// Meta is what a journal says about itself. It is set when the journal is
// created and never changes.
type Meta struct {
	Rack    string    `json:"rack"`    // whose events these are
	Run     string    `json:"run"`     // id of the run; empty when a salvage could not find it
	Created time.Time `json:"created"` // UTC
	// Salvaged is the last sequence that was taken from a damaged journal, or from
	// the copy of a lost one; 0 for one that never was either. What the events up to
	// it say of a device may be out of date: it is to be looked at before anything is
	// done to it.
	Salvaged uint64 `json:"salvaged,omitempty"`
	// SalvagedFrom is the directory of the damaged journal, or who had the copy.
	SalvagedFrom string `json:"salvagedFrom,omitempty"`
}

// The file has two buckets. eventsBucket holds the records. journalBucket holds
// metaKey (a sealed Meta as JSON, its version is that of the file's format) and
// headKey (a sealed sequence and hash of the last record, written in the
// transaction of that record: it shows when the newest records are missing).
const (
	eventsBucket  = "events"
	journalBucket = "journal"
	metaKey       = "meta"
	headKey       = "head"
)

func sealMeta(m Meta) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the journal's meta data: %w", err)
	}
	return seal(b), nil
}

func openMeta(b []byte) (m Meta, err error) {
	body, err := unseal(b)
	if err != nil {
		return Meta{}, err
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return Meta{}, err
	}
	return m, nil
}

// head is the last record of a journal; the zero head that of an empty one.
type head struct {
	seq  uint64
	hash hash
}

func (h head) seal() []byte { return seal(keyOf(h.seq), h.hash[:]) }

func openHead(b []byte) (head, error) {
	body, err := unseal(b)
	if err != nil {
		return head{}, err
	}
	if len(body) != 8+hashSize {
		return head{}, errShort
	}
	return head{seq: binary.BigEndian.Uint64(body), hash: hash(body[8:])}, nil
}
