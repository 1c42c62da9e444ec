//go:build linux

package installer

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
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

// A disk that does not give back what was written is found out, and where.
func TestDiskThatLies(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	x, err := openTarget(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	n := &installation{j: &a.job, src: newSource(a.Client(), 0, func(string) {}), t: x}
	index, err := n.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: x, x: index}
	done := make(chan int, len(index.Frames))
	for i := range index.Frames {
		raw := aligned(int(index.FrameSize) + page)
		b := raw[:copy(raw, a.raw[int64(i)*index.FrameSize:][:index.RawSizeOf(i)])]
		if err := w.put(i, b); err != nil {
			t.Fatal(err)
		}
		done <- i
	}
	if err := x.write([]byte{a.raw[index.FrameSize+77] ^ 1}, index.FrameSize+77); err != nil {
		t.Fatal(err)
	}
	if err := w.check(t.Context(), done); !errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), "from byte 4194304 on") {
		t.Error(err)
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
