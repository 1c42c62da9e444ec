//go:build linux

package installer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"

	"github.com/rackreach/rackreach/internal/job"
)

var errPower = errors.New("the power is off")

// lost is what a power cut leaves of the write that it meets, and of those before that
// nothing has flushed. Pages are written as wholes.
type lost int

const (
	allOfIt   lost = iota // nothing of it got there
	endOfIt               // half of it did
	allBefore             // it did, and nothing that was not flushed before: disks reorder
)

func (l lost) String() string { return [...]string{"not begun", "half done", "done first"}[l] }

// supply is the power of a disk, whose bytes are memory. It goes at one write.
type supply struct {
	disk []byte
	at   int // the write; negative: never
	lost lost

	mu        sync.Mutex
	writes    int
	off       bool
	unflushed []write
}

// write is what stood where something was written.
type write struct {
	was []byte
	at  int64
}

// powered is a disk with a supply, instead of the file that was opened.
type powered struct {
	medium
	*supply
}

func (s *supply) over(m medium) medium { return powered{m, s} }

func (p powered) ReadAt(b []byte, at int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return 0, errPower
	}
	return copy(b, p.disk[at:]), nil
}

func (p powered) WriteAt(b []byte, at int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return 0, errPower
	}
	if p.writes == p.at {
		p.off = true
		p.end(b, at)
		return 0, errPower
	}
	p.writes++
	if p.lost == allBefore {
		p.unflushed = append(p.unflushed, write{bytes.Clone(p.disk[at:][:len(b)]), at})
	}
	return copy(p.disk[at:], b), nil
}

// end is the last that is done to the disk.
func (p powered) end(b []byte, at int64) {
	switch p.lost {
	case allOfIt:
		return
	case endOfIt:
		b = b[:len(b)/2/page*page]
	case allBefore:
		for _, w := range slices.Backward(p.unflushed) {
			copy(p.disk[w.at:], w.was)
		}
	}
	copy(p.disk[at:], b)
}

func (p powered) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return errPower
	}
	p.unflushed = nil
	return nil
}

const poweredSize = 24 << 20

// markOf fills both ends of what an array or a volume manager had.
var markOf = bytes.Repeat([]byte("old mark"), head/8)

// marked is a disk with three partitions, one that the image overwrites and two behind it.
func marked(table func([]byte, []span)) []byte {
	b := make([]byte, poweredSize)
	parts := []span{{5 << 20, 9 << 20}, {10 << 20, 14 << 20}, {15 << 20, 19 << 20}}
	for _, p := range parts {
		copy(b[p.from:], markOf)
		copy(b[p.to-head:], markOf)
	}
	table(b, parts)
	return b
}

func mbrWith(b []byte, parts []span) {
	copy(b[440:], "\x01\x02\x03\x04")
	for i, p := range parts {
		e := b[446+16*i:]
		e[4] = 0xfd
		binary.LittleEndian.PutUint32(e[8:], uint32(p.from/512))
		binary.LittleEndian.PutUint32(e[12:], uint32((p.to-p.from)/512))
	}
	b[510], b[511] = 0x55, 0xaa
}

func gptWith(b []byte, parts []span) {
	copy(b, image(7)[:head])
	le, h, table := binary.LittleEndian, b[512:][:92], b[1024:][:128*128]
	for i, p := range parts {
		e := table[128*i:]
		copy(e, "some partition  ")
		copy(e[16:], fmt.Sprintf("old partition %02d", i))
		le.PutUint64(e[32:], uint64(p.from/512))
		le.PutUint64(e[40:], uint64(p.to/512-1))
	}
	le.PutUint32(h[gptEntriesCRC:], crc32.ChecksumIEEE(table))
	le.PutUint32(h[gptCRC:], 0)
	le.PutUint32(h[gptCRC:], crc32.ChecksumIEEE(h))
}

// The power goes at each write of an installation: of a receipt, of the wipe, of a frame,
// of the grown table's copy, of the first MiB. A disk that says "installed" then holds the
// image; the same job, begun again, ends with the very bytes that it leaves when nothing
// happens, and no mark of what was there before.
func TestPowerCutAtEveryWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		before []byte
		lost   []lost
	}{
		"blank": {make([]byte, poweredSize), []lost{allOfIt}},
		"mbr":   {marked(mbrWith), []lost{allOfIt}},
		"gpt":   {marked(gptWith), []lost{endOfIt, allBefore}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, file := newAgent(t, image(1)), blank(t, poweredSize)
			a.job.Install.Grow = true
			a.job.Install.Files = []job.File{{Partition: 1, Path: "/etc/hostname", Content: "server-01"}}
			c, err := Inspect(bytes.NewReader(tt.before), poweredSize, "DISK-1")
			if err != nil {
				t.Fatal(err)
			}
			a.job.Overwrites = c.Holds()
			run := func(s *supply) Outcome {
				t.Helper()
				o := a.options(file)
				o.Memory, o.Say, o.over = 1, nil, s.over // one frame at a time, so that writes have an order
				o.Files = func(context.Context, string, []job.File) error { return nil }
				out, err := Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			whole := &supply{disk: bytes.Clone(tt.before), at: -1}
			if out := run(whole); out.State != job.Installed {
				t.Fatalf("%+v", out)
			}
			if bytes.Contains(whole.disk, markOf[:16]) || whole.writes < 15 {
				t.Fatalf("an old mark is left after %d writes", whole.writes)
			}
			for _, l := range tt.lost {
				for n := range whole.writes {
					disk := bytes.Clone(tt.before)
					if out := run(&supply{disk: disk, at: n, lost: l}); out.State != job.Failed {
						t.Fatalf("cut at write %d of %d: %+v", n, whole.writes, out)
					}
					if saysInstalled(disk) && !bytes.Equal(withoutReceipts(disk), withoutReceipts(whole.disk)) {
						t.Errorf("cut at write %d, %v: it says that all is there", n, l)
					}
					if out := run(&supply{disk: disk, at: -1}); out.State != job.Installed {
						t.Errorf("begun again after write %d, %v: %+v", n, l, out)
					}
					if !bytes.Equal(disk, whole.disk) {
						t.Errorf("begun again after write %d, %v: the disk is another one; an old mark is left: %v", n, l, bytes.Contains(disk, markOf[:16]))
					}
				}
			}
		})
	}
}

// saysInstalled reports whether one of a disk's receipts does.
func saysInstalled(all []byte) bool {
	for _, at := range []int64{headAt, tailAt(int64(len(all)))} {
		if r, err := parseReceipt(all[at:][:receiptSize]); err == nil && r.State == Installed {
			return true
		}
	}
	return false
}

func withoutReceipts(all []byte) []byte {
	all = bytes.Clone(all)
	clear(all[headAt:][:receiptSize])
	clear(all[tailAt(int64(len(all))):][:receiptSize])
	return all
}
