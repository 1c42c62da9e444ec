//go:build linux

package installer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/rackreach/rackreach/internal/job"
)

// The last partition goes up to the receipt, the copy of the table to the end, and
// nothing else changes.
func TestGrow(t *testing.T) {
	raw := image(1)
	g, err := grow(raw[:head], diskSize, 512)
	if err != nil {
		t.Fatal(err)
	}
	const end = diskSize - 2<<20 // the receipt is in the MiB before the last
	if g.number != 1 || g.end != end || g.at != diskSize-33*512 || int64(len(g.backup)) != 33*512 {
		t.Errorf("partition %d to %d, copy of %d bytes at %d", g.number, g.end, len(g.backup), g.at)
	}
	whole := make([]byte, diskSize)
	copy(whole, g.start)
	copy(whole[g.at:], g.backup)
	le := binary.LittleEndian
	for _, at := range []int{512, diskSize - 512} {
		h := whole[at:][:92]
		own, other, entries := le.Uint64(h[gptSelf:])*512, le.Uint64(h[gptOther:])*512, le.Uint64(h[gptEntries:])*512
		crc := le.Uint32(h[gptCRC:])
		zeroed := bytes.Clone(h)
		le.PutUint32(zeroed[gptCRC:], 0)
		table := whole[entries:][:128*128]
		if int(own) != at || int(other) != diskSize-at || crc32.ChecksumIEEE(zeroed) != crc || crc32.ChecksumIEEE(table) != le.Uint32(h[gptEntriesCRC:]) || le.Uint64(h[gptLast:])*512 != end-512 {
			t.Errorf("header at %d: self %d, other %d", at, own, other)
		}
		if p := entriesOf(table); len(p) != 1 || p[0].last != end/512-1 || p[0].first != 2048 || p[0].kind != espKind {
			t.Errorf("partitions %+v", p)
		}
	}
	if got := le.Uint32(whole[446+12:]); got != diskSize/512-1 {
		t.Errorf("the protective entry has %d blocks", got)
	}
	for _, change := range []span{{446, 510}, {512, 1024}, {1024 + 40, 1024 + 48}} {
		copy(g.start[change.from:change.to], raw[change.from:change.to])
	}
	if !bytes.Equal(g.start, raw[:head]) {
		t.Error("more changed than the table")
	}
}

func TestGrowRefuses(t *testing.T) {
	le := binary.LittleEndian
	seal := func(b []byte) {
		le.PutUint32(b[512+gptEntriesCRC:], crc32.ChecksumIEEE(b[1024:1024+128*128]))
		le.PutUint32(b[512+gptCRC:], 0)
		le.PutUint32(b[512+gptCRC:], crc32.ChecksumIEEE(b[512:604]))
	}
	for name, do := range map[string]func([]byte){
		"no table":                func(b []byte) { clear(b) },
		"a damaged header":        func(b []byte) { b[560]++ },
		"damaged entries":         func(b []byte) { b[1050]++ },
		"a partition beyond":      func(b []byte) { le.PutUint64(b[1024+40:], 1<<40); seal(b) },
		"a partition that is not": func(b []byte) { le.PutUint64(b[1024+32:], 1<<63); seal(b) },
		"no partition":            func(b []byte) { clear(b[1024 : 1024+128]); seal(b) },
		"entries elsewhere":       func(b []byte) { le.PutUint64(b[512+gptEntries:], 1<<62); seal(b) },
		"many entries":            func(b []byte) { le.PutUint32(b[512+gptCount:], 1<<31); seal(b) },
	} {
		b := image(1)[:head]
		do(b)
		if g, err := grow(b, diskSize, 512); err == nil {
			t.Errorf("%s: %+v", name, g.end)
		}
	}
}

// A job that asks for it gets a grown partition, and its receipt knows the table still.
func TestInstallGrown(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.job.Install.Grow = true
	if out := a.run(disk); out.State != job.Installed {
		t.Fatalf("%+v", out)
	}
	c, all := on(t, disk)
	if c.Receipt == nil || c.Receipt.State != Installed || !bytes.Equal(all[1<<20:rawSize], a.raw[1<<20:]) || string(all[diskSize-512:][:8]) != "EFI PART" {
		t.Errorf("%+v", c)
	}
	if out := a.run(disk); !out.Kept {
		t.Errorf("again: %+v", out)
	}
	// A system that takes the end of the disk for itself leaves the other receipt.
	clear(all[rawSize:])
	if c, err := Inspect(bytes.NewReader(all), diskSize, "DISK-1"); err != nil || c.Receipt == nil || c.Receipt.State != Installed {
		t.Errorf("%+v, %v", c, err)
	}
}

// What is wiped leaves the receipt, and covers both ends of every old partition.
func TestWiped(t *testing.T) {
	start := make([]byte, head)
	copy(start, image(1)[:head])
	const first, last = 1 << 20, (rawSize/512 - 33) * 512
	for _, at := range []int64{0, lookEnd - 1, first, last - 1, last - head, diskSize - 1, tailAt(diskSize) - 1, tailAt(diskSize) + receiptSize} {
		hit := false
		for _, s := range wiped(start, diskSize, 512) {
			hit = hit || s.from <= at && at < s.to
			if s.from < tailAt(diskSize)+receiptSize && tailAt(diskSize) < s.to {
				t.Fatalf("%+v hits the receipt", s)
			}
		}
		if !hit {
			t.Errorf("byte %d stays", at)
		}
	}
}

func FuzzGrow(f *testing.F) {
	f.Add(image(1)[:8192], int64(diskSize))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < minDisk || size > 1<<50 {
			return
		}
		start := make([]byte, 64<<10)
		copy(start, b)
		before := bytes.Clone(start)
		g, err := grow(start, size/512*512, 512)
		if !bytes.Equal(start, before) {
			t.Error("the start was changed")
		}
		if err == nil && (g.at < g.end || g.at+int64(len(g.backup)) != size/512*512 || g.end > tailAt(size)) {
			t.Errorf("%+v", g)
		}
		_ = wiped(start, size/512*512, 512)
		if s := tableOf(start); s != job.Printable(s, 100) {
			t.Errorf("table %q", s)
		}
	})
}
