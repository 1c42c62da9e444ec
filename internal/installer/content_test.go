//go:build linux

package installer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/job"
)

func put(b []byte, at int, s string) []byte {
	if at < 0 {
		at += len(b)
	}
	copy(b[at:], s)
	return b
}

// What is on a disk, and how it is named.
func TestInspect(t *testing.T) {
	const size = minDisk + 32<<20
	receipt := func(state State, table, disk string) string {
		r := Receipt{Rack: "r1", Device: "server-01", Run: "run-1", Ticket: "r1/server-01/1", State: state, Table: table, Disk: disk}
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	gpt := string(image(1)[:64<<10])
	const table, id = "gpt 6b736964-6f20-2066-696d-616765203031", "receipt:run-1/r1/server-01/1"
	tail := int(tailAt(size))
	for name, tt := range map[string]struct {
		do   func(b []byte)
		want string
	}{
		"blank":                        {func([]byte) {}, ""},
		"erased to ones":               {func(b []byte) { copy(b, bytes.Repeat([]byte{0xff}, len(b))) }, ""},
		"half ones":                    {func(b []byte) { b[100] = 0xff }, "foreign:unknown data at byte 100, sum "},
		"a byte at the end":            {func(b []byte) { b[size-1] = 1 }, "foreign:unknown data at byte 44040191, sum "},
		"a byte in a sample":           {func(b []byte) { b[lookEnd+7] = 1 }, "foreign:unknown data at byte 4194311, sum "},
		"a partition table":            {func(b []byte) { put(b, 0, gpt) }, "foreign:" + table},
		"and a file system":            {func(b []byte) { put(put(b, 0, gpt), 0x438, "\x53\xef") }, "foreign:" + table + "; ext4 "},
		"an old table":                 {func(b []byte) { put(b, 440, "\x01\x02\x03\x04"); put(b, 510, "\x55\xaa") }, "foreign:mbr 01020304"},
		"an array":                     {func(b []byte) { put(b, 4096, "\xfc\x4e\x2b\xa9"); put(b, 4112, "0123456789abcdef") }, "foreign:md 30313233-3435-3637-3839-616263646566"},
		"an old array":                 {func(b []byte) { binary.LittleEndian.PutUint32(b[size-64<<10:], 0xa92b4efc) }, "foreign:md 00000000, sum "},
		"a pool":                       {func(b []byte) { put(b, 256<<10+130<<10, "\x0c\xb1\xba\x00\x00\x00\x00\x00") }, "foreign:zfs, sum "},
		"a volume":                     {func(b []byte) { put(b, 512, "LABELONE") }, "foreign:lvm, sum "},
		"a datastore":                  {func(b []byte) { put(b, 1<<20, "\x0d\xd0\x01\xc0") }, "foreign:vmfs, sum "},
		"a BIOS array":                 {func(b []byte) { put(b, -1024, "Intel Raid ISM Cfg Sig. ") }, "foreign:imsm, sum "},
		"a copy of a table":            {func(b []byte) { put(b, -512, "EFI PART") }, "foreign:gpt-backup 00000000-0000-0000-0000-000000000000, sum "},
		"a receipt":                    {func(b []byte) { put(put(b, 0, gpt), tail, receipt(Installed, table, "DISK-1")) }, id},
		"a receipt, half written":      {func(b []byte) { put(put(b, 4<<20, "data"), tail, receipt(Writing, "", "DISK-1")) }, id},
		"half written, then another's": {func(b []byte) { put(put(b, 0, gpt), tail, receipt(Writing, "", "DISK-1")) }, "foreign:not what its receipt says: " + table},
		"half written, its table too":  {func(b []byte) { put(put(b, 0, gpt[:512]), tail, receipt(Writing, table, "DISK-1")) }, id},
		"half written, not yet wiped":  {func(b []byte) { put(put(b, 0, gpt), tail, receipt(Writing, table, "DISK-1")) }, id},
		"a receipt before the first":   {func(b []byte) { put(put(b, 0, gpt), headAt, receipt(Installed, table, "DISK-1")) }, id},
		"a receipt of another table":   {func(b []byte) { put(put(b, 0, gpt), tail, receipt(Installed, "gpt x", "DISK-1")) }, "foreign:not what its receipt says: " + table},
		"a receipt and no table":       {func(b []byte) { put(b, tail, receipt(Installed, table, "DISK-1")) }, "foreign:not what its receipt says: unknown, sum "},
		"a receipt of another disk":    {func(b []byte) { put(put(b, 0, gpt), tail, receipt(Installed, table, "DISK-2")) }, "foreign:the receipt of another disk, " + table},
		"a receipt with a flipped bit": {func(b []byte) { put(b, tail, receipt(Writing, "", "DISK-1")); b[tail+40] ^= 1 }, "foreign:unknown data at byte "},
	} {
		t.Run(name, func(t *testing.T) {
			b := make([]byte, size)
			tt.do(b)
			c, err := Inspect(bytes.NewReader(b), size, "DISK-1")
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Holds(); got != tt.want && (!strings.HasSuffix(tt.want, " ") || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Two disks that hold different things are never named alike: an order to overwrite the
// one must not be one to overwrite the other.
func TestHoldsTellsApart(t *testing.T) {
	const size = minDisk
	for name, do := range map[string]func(b []byte, which string){
		"unknown data":           func(b []byte, which string) { put(b, 0, "data "+which) },
		"unknown data, behind":   func(b []byte, which string) { put(b, lookEnd+100, "data "+which) },
		"a volume":               func(b []byte, which string) { put(put(b, 512, "LABELONE"), 544, which) },
		"a pool":                 func(b []byte, which string) { put(put(b, 128<<10, "\x0c\xb1\xba\x00\x00\x00\x00\x00"), 4096, which) },
		"a table without a name": func(b []byte, which string) { put(put(b, 510, "\x55\xaa"), 0, which) },
		"a file system":          func(b []byte, which string) { put(put(b, 3, "NTFS    "), 72, which) },
		"an array at the end":    func(b []byte, which string) { put(put(b, -512, "DPTM"), -256, which) },
		"no name of its own":     func(b []byte, which string) { put(put(b, 0x438, "\x53\xef"), 2048, which) },
	} {
		t.Run(name, func(t *testing.T) {
			holds := map[string]bool{}
			for _, which := range []string{"one", "other", "one"} {
				b := make([]byte, size)
				do(b, which)
				c, err := Inspect(bytes.NewReader(b), size, "DISK-1")
				if err != nil {
					t.Fatal(err)
				}
				holds[c.Holds()] = true
			}
			if len(holds) != 2 {
				t.Errorf("two disks are named %v", holds)
			}
		})
	}
}

// A disk that cannot be read is not one that is blank.
func TestUnreadable(t *testing.T) {
	if _, err := Inspect(bytes.NewReader(make([]byte, lookEnd)), 64<<20, ""); err == nil || errors.Is(err, ErrTooSmall) {
		t.Error(err)
	}
}

// Whatever is on a disk and in a job: what is overwritten is blank, named, or half
// written by the same run.
func TestJudge(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b"})
	rapid.Check(t, func(t *rapid.T) {
		j := &job.Job{Rack: word.Draw(t, "rack"), Device: word.Draw(t, "device"), Run: word.Draw(t, "run"), Ticket: word.Draw(t, "ticket"), Image: job.Image{Digest: word.Draw(t, "digest")},
			Overwrites: rapid.SampledFrom([]string{"", "foreign:x", "foreign:y", "receipt:a/a", "receipt:b/a"}).Draw(t, "overwrites")}
		var c Content
		if rapid.Bool().Draw(t, "has receipt") {
			c.Receipt = &Receipt{Rack: word.Draw(t, "rack"), Device: word.Draw(t, "device"), Run: word.Draw(t, "run"), Ticket: word.Draw(t, "ticket"), Digest: word.Draw(t, "digest"),
				State: rapid.SampledFrom([]State{Writing, Installed}).Draw(t, "state")}
		}
		c.Foreign = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "foreign")
		r := c.Receipt
		mine := r != nil && c.Foreign == "" && r.Rack == j.Rack && r.Device == j.Device && r.Run == j.Run
		named := j.Overwrites != "" && j.Overwrites == c.Holds()
		blank := r == nil && c.Foreign == ""
		switch v := Judge(c, j); v {
		case Write:
			if !blank && !named && !(mine && r.State == Writing) {
				t.Fatalf("%+v %+v is overwritten by %+v", c, r, j)
			}
		case Keep:
			if !mine || r.State != Installed || r.Digest != j.Image.Digest || named {
				t.Fatalf("%+v %+v is kept for %+v", c, r, j)
			}
		default:
			if blank || named {
				t.Fatalf("%+v is kept back from %+v", c, j)
			}
		}
	})
}

func FuzzReceipt(f *testing.F) {
	r := Receipt{Rack: "r1", Device: "d", Run: "run-1", Ticket: "t", State: Installed}
	b, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReceipt(b)
		if err != nil {
			return
		}
		if again, err := r.encode(); err == nil {
			if s, err := parseReceipt(again); err != nil || *s != *r {
				t.Errorf("%+v became %+v, %v", r, s, err)
			}
		}
		if h := r.Holds(); h != job.Printable(h, 200) {
			t.Errorf("it holds %q", h)
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add(image(1)[:4096], []byte("EFI PART"))
	f.Add([]byte("XFSB"), []byte{})
	f.Fuzz(func(t *testing.T, first, last []byte) {
		const size = minDisk
		b := make([]byte, size)
		copy(b, first)
		copy(b[max(0, size-len(last)):], last)
		c, err := Inspect(bytes.NewReader(b), size, "DISK-1")
		if err != nil {
			t.Fatal(err)
		}
		h := c.Holds()
		if h == "" && bytes.Count(b, []byte{0}) != size && bytes.Count(b, []byte{0xff}) != size && len(first) < lookEnd && len(last) < lookEnd && !allOnes(b) {
			t.Errorf("a disk with data counts as blank")
		}
		if h != job.Printable(h, 200) {
			t.Errorf("it holds %q", h)
		}
	})
}

// allOnes reports whether each end of a disk is all zeros or all ones.
func allOnes(b []byte) bool {
	for _, end := range [][]byte{b[:lookEnd], b[len(b)-lookEnd:]} {
		if n := bytes.Count(end, []byte{0xff}); n != 0 && n != len(end) {
			return false
		}
	}
	return true
}

// holed is a disk with one byte that is not zero.
type holed struct{ at int64 }

func (h holed) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if i := h.at - at; i >= 0 && i < int64(len(p)) {
		p[i] = 1
	}
	return len(p), nil
}

// No byte of a small disk is left out: it is not blank, wherever its data stands.
func TestSmallDisksAreLookedAtWhole(t *testing.T) {
	const size = 200 << 20
	for _, at := range []int64{50<<20 + 777, size - lookEnd - 1} {
		if c, err := Inspect(holed{at}, size, "DISK-1"); err != nil || c.Holds() == "" {
			t.Errorf("a byte at %d: %q, %v", at, c.Holds(), err)
		}
	}
}
