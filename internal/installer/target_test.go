//go:build linux

package installer

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/frames"
)

// Pieces of any size, at any place, come back, and leave what is around them.
func TestTarget(t *testing.T) {
	disk := blank(t, diskSize)
	x, err := openTarget(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}()
	want := make([]byte, diskSize)
	for i, at := range []int64{0, 1, 4095, 12288, 700_001, diskSize - 10} {
		b := bytes.Repeat([]byte{byte(i + 1)}, min(9000, int(diskSize-at)))
		copy(want[at:], b)
		if err := errors.Join(x.write(b, at), x.sync(), x.forget(at, int64(len(b)))); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(b))
		if err := readFull(x, got, at); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes at %d: %v", len(b), at, err)
		}
	}
	if got, err := os.ReadFile(disk); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the rest changed: %v", err)
	}
	if err := readFull(x, make([]byte, 2), diskSize-1); err == nil {
		t.Error("it reads beyond its end")
	}
}

// A disk that gives back other bytes than it was given is found out, whichever byte it
// is; so is one that loses the first bytes, which are compared when they are written.
func TestDiskThatLies(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	x, err := frames.Parse(a.index)
	if err != nil {
		t.Fatal(err)
	}
	d, err := openTarget(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, piece := &writer{t: d, x: x}, aligned(pieceBack)
	for i := range x.Frames {
		at, n := int64(i)*x.FrameSize, x.RawSizeOf(i)
		b := aligned(int(n) + page)[:n]
		copy(b, a.raw[at:])
		if err := w.put(i, b); err != nil {
			t.Fatal(err)
		}
		if err := w.back(i, b, piece); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []int64{max(at, head), at + n/2, at + n - 1} {
			was := []byte{0}
			if _, err := d.ReadAt(was, bad); err != nil {
				t.Fatal(err)
			}
			if err := d.write([]byte{was[0] ^ 1}, bad); err != nil {
				t.Fatal(err)
			}
			if err := w.back(i, b, piece); !errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), "replace it") {
				t.Errorf("byte %d is another one: %v", bad, err)
			}
			if err := d.write(was, bad); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.back(i, b, piece); err != nil {
			t.Errorf("frame %d, as it was: %v", i, err)
		}
	}
	if w.written.Load() != rawSize || !bytes.Equal(w.first, a.raw[:head]) {
		t.Errorf("%d bytes written, %d kept", w.written.Load(), len(w.first))
	}
	w.first[7] ^= 1
	b := aligned(int(x.FrameSize))
	copy(b, a.raw)
	if err := w.back(0, b, piece); !errors.Is(err, ErrAltered) {
		t.Errorf("another first byte: %v", err)
	}
}

// A disk whose blocks are not those that the image's partition table counts in would never
// boot. That is found out before anything is written.
func TestBlocksOfAnotherSize(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	x, err := openTarget(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	x.block, x.align = page, page
	o := a.options(disk)
	n := &installation{o: &o, j: &a.job, src: newSource(a.Client(), 0, func(string) {}), t: x}
	if err := n.do(t.Context()); !errors.Is(err, ErrBlocks) || !strings.Contains(err.Error(), "blocks of 512 bytes") {
		t.Error(err)
	}
	if b, err := os.ReadFile(disk); err != nil || strings.Trim(string(b), "\x00") != "" {
		t.Errorf("the disk was written: %v", err)
	}
}
