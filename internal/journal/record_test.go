package journal

import (
	"reflect"
	"testing"
	"time"
)

// FuzzRecord gives the decoder bytes as they are, and as the payload of a record
// with a sound checksum. What it accepts must read back the same.
func FuzzRecord(f *testing.F) {
	payload, _, err := encode(event(3))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := sealRecord(hash{1}, payload, 7, time.Unix(1, 2).UTC())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint64(7), sealed)
	f.Add(uint64(7), sealed[recordHead:len(sealed)-crcSize])
	f.Add(uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, seq uint64, b []byte) {
		for _, bytes := range [][]byte{b, seal(make([]byte, hashSize), b)} {
			r, err := openRecord(keyOf(seq), bytes)
			if err != nil {
				continue
			}
			payload, same, err := encode(r.event)
			if err != nil {
				t.Fatalf("read but not written: %v", err)
			}
			sealed, err := sealRecord(r.prev, payload, seq, r.event.Time)
			if err != nil {
				t.Fatal(err)
			}
			again, err := openRecord(keyOf(seq), sealed)
			if err != nil || !reflect.DeepEqual(again.event, r.event) || !reflect.DeepEqual(same, r.event) {
				t.Fatalf("%v: %+v, then %+v", err, r.event, again.event)
			}
		}
	})
}

// FuzzFile gives the reader of the file's format anything. Seeds are small, the
// pages of a journal are made in the body.
func FuzzFile(f *testing.F) {
	_, file, want := written(f, 5)
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096+16), []byte{0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		changed := append([]byte(nil), inUse(t, file)...)
		copy(changed[int(at)%len(changed):], change)
		judge(t, "changed", int(at), changed, want)
	})
}
