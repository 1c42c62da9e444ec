package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// A record is an event on disk, under its sequence as key (8 bytes, big endian):
//
//	byte 0        version, 1
//	bytes 1–16    hash of the previous record; zero in the first
//	…             messages.Event as protobuf, with sequence and time
//	last 4 bytes  CRC-32C (Castagnoli) of everything before, big endian
//
// The hash of a record is the first 16 bytes of the SHA-256 of its bytes. It
// guards against accidents and hasty edits, not against somebody who recomputes
// the chain. Every version keeps the version first and the checksum last, so
// that a damaged version byte and a newer version can be told apart.
const (
	formatVersion = 1
	hashSize      = 16
	recordHead    = 1 + hashSize
	crcSize       = 4
)

// MaxEvent bounds one event as protobuf, in bytes. The strings of an event are
// bounded by the adapters that made them, far below this.
const MaxEvent = 64 << 10

// stampSize bounds the sequence and the time within a payload, in bytes.
const stampSize = 64

// ErrNewer says that a newer rackreach wrote a journal, or a part of it.
var ErrNewer = errors.New("a newer rackreach wrote it; use that version or a later one")

var (
	errShort    = errors.New("it is too short")
	errChecksum = errors.New("its checksum is wrong")
)

type hash [hashSize]byte

func hashOf(b []byte) (h hash) {
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// seal puts the version before a body and the checksum after it.
func seal(parts ...[]byte) []byte {
	b := []byte{formatVersion}
	for _, part := range parts {
		b = append(b, part...)
	}
	return binary.BigEndian.AppendUint32(b, crcOf(b))
}

// unseal is the body of sealed bytes. Errors: errShort, errChecksum, ErrNewer.
func unseal(b []byte) ([]byte, error) {
	if len(b) < 1+crcSize {
		return nil, errShort
	}
	body, sum := b[:len(b)-crcSize], binary.BigEndian.Uint32(b[len(b)-crcSize:])
	if crcOf(body) != sum {
		return nil, errChecksum
	}
	if body[0] != formatVersion {
		return nil, fmt.Errorf("version %d is not known: %w", body[0], ErrNewer)
	}
	return body[1:], nil
}

// encode is an event as protobuf without sequence and time, and the event as
// it will be read back. It refuses what would not read back the same.
func encode(e rack.Event) ([]byte, rack.Event, error) {
	m := messages.FromEvent(e)
	m.Seq, m.Time = 0, nil
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, e, fmt.Errorf("journal %s of %q: %w", e.Kind, e.Device, err)
	}
	if len(payload) > MaxEvent {
		return nil, e, fmt.Errorf("journal %s of %q: it has %d bytes, more than %d", e.Kind, e.Device, len(payload), MaxEvent)
	}
	read := new(messages.Event)
	if err := proto.Unmarshal(payload, read); err != nil {
		return nil, e, fmt.Errorf("journal %s of %q: %w", e.Kind, e.Device, err)
	}
	back, err := messages.ToEvent(read)
	if err != nil {
		return nil, e, fmt.Errorf("journal %s of %q: it would not read back: %w", e.Kind, e.Device, err)
	}
	back.Seq, back.Time = e.Seq, e.Time
	if !reflect.DeepEqual(back, e) {
		return nil, e, fmt.Errorf("journal %s of %q: it would read back as %+v, not as %+v", e.Kind, e.Device, back, e)
	}
	return payload, back, nil
}

// sealRecord is the record of an encoded event.
func sealRecord(prev hash, payload []byte, seq uint64, at time.Time) ([]byte, error) {
	// Two protobuf messages one after the other are read as one merged message.
	stamped, err := proto.MarshalOptions{}.MarshalAppend(payload[:len(payload):len(payload)],
		&messages.Event{Seq: seq, Time: timestamppb.New(at)})
	if err != nil {
		return nil, fmt.Errorf("journal event %d: %w", seq, err)
	}
	return seal(prev[:], stamped), nil
}

// record is what one holds.
type record struct {
	event rack.Event
	prev  hash // of the record before
	self  hash
}

// openRecord reads a record and checks it against its key. Its error completes
// the sentence "it cannot be read: …".
func openRecord(key, b []byte) (record, error) {
	if len(key) != 8 {
		return record{}, fmt.Errorf("its key has %d bytes, not 8", len(key))
	}
	if len(b) > recordHead+MaxEvent+stampSize+crcSize {
		return record{}, fmt.Errorf("it has %d bytes", len(b))
	}
	body, err := unseal(b)
	if err != nil {
		return record{}, err
	}
	if len(body) < hashSize {
		return record{}, errShort
	}
	m := new(messages.Event)
	if err := proto.Unmarshal(body[hashSize:], m); err != nil {
		return record{}, err
	}
	if unknown(m) {
		return record{}, fmt.Errorf("it has fields that are not known: %w", ErrNewer)
	}
	if err := m.GetTime().CheckValid(); err != nil {
		return record{}, err
	}
	if d := m.GetDetail().GetDelay(); d != nil {
		if err := d.CheckValid(); err != nil {
			return record{}, err
		}
	}
	if want := binary.BigEndian.Uint64(key); m.GetSeq() != want {
		return record{}, fmt.Errorf("it says that it is event %d, its key says %d", m.GetSeq(), want)
	}
	event, err := messages.ToEvent(m)
	if err != nil {
		return record{}, err
	}
	return record{event: event, prev: hash(body[:hashSize]), self: hashOf(b)}, nil
}

// unknown tells whether a message has fields of a later version.
func unknown(m *messages.Event) bool {
	for _, part := range []proto.Message{m, m.GetDetail(), m.GetDetail().GetSeen()} {
		if len(part.ProtoReflect().GetUnknown()) > 0 {
			return true
		}
	}
	return false
}

func keyOf(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
