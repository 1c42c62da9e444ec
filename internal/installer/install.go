//go:build linux

package installer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/job"
)

// Partition is one that was written, as a firmware's boot entry names it.
type Partition struct {
	Number      int
	ID          [16]byte // as it stands in the table
	First, Size int64    // blocks
}

// espKind is the type of an EFI system partition, as it stands in a table.
var espKind = [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}

// ErrBlocks says that a disk counts in other blocks than the image. It is wrapped.
var ErrBlocks = errors.New("the image is for disks with other blocks, and nothing was written")

// installation is one job on one disk that was opened, and judged.
type installation struct {
	o    *Options
	j    *job.Job
	disk job.Disk
	t    *target
	had  string // the partition table that the disk had, see tableOf
	src  *source
	w    *writer
}

// index fetches the index of frames, and holds that it is the one of the job.
func (n *installation) index(ctx context.Context) (frames.Index, error) {
	f := n.j.Image.Frames
	b, err := n.src.small(ctx, f.URL, frames.MaxIndex)
	if err != nil {
		return frames.Index{}, fmt.Errorf("fetch the index of frames: %w", err)
	}
	if sum := sha256.Sum256(b); int64(len(b)) != f.Size || "sha256:"+hex.EncodeToString(sum[:]) != f.Digest {
		return frames.Index{}, fmt.Errorf("%w: its index of frames has another digest: the bundle on the agent is damaged: rackreach bundle verify it", ErrAltered)
	}
	x, err := frames.Parse(b)
	if err != nil {
		return frames.Index{}, err
	}
	if raw := n.j.Image.Raw; x.RawDigest != raw.Digest || x.RawSize != raw.Size || x.Size() != n.j.Image.Size {
		return frames.Index{}, fmt.Errorf("%w: its index of frames is of another image", ErrAltered)
	}
	if x.FrameSize%page != 0 {
		return frames.Index{}, fmt.Errorf("its frames of %d bytes are no multiple of %d, which disks want: add the image anew with another --frame-size", x.FrameSize, page)
	}
	return x, nil
}

// do writes the image, and returns when the receipt says so.
func (n *installation) do(ctx context.Context) error {
	x, err := n.index(ctx)
	if err != nil {
		return err
	}
	if x.RawSize > n.t.size-Reserve {
		return fmt.Errorf("%w: %s has %d bytes, and the image needs %d", ErrTooSmall, n.disk.Path, n.t.size, x.RawSize+Reserve)
	}
	n.w = &writer{t: n.t, x: x, src: n.src, url: n.j.Image.URL, memory: n.o.Memory}
	if err := n.blocks(ctx); err != nil {
		return err
	}
	r := &Receipt{Rack: n.j.Rack, Device: n.j.Device, Run: n.j.Run, Ticket: n.j.Ticket, Image: n.j.Image.Name, Digest: n.j.Image.Digest, State: Writing, Table: n.had, Disk: n.disk.Serial}
	if err := n.leave(r, tailAt(n.t.size)); err != nil { // from here on the disk is ours
		return err
	}
	n.o.Say("wiping what the disk held")
	if err := n.t.wipe(); err != nil {
		return err
	}
	n.o.Say(fmt.Sprintf("writing %s, %d bytes in %d frames, %d at a time", n.j.Image.Name, x.RawSize, len(x.Frames), n.w.workers()))
	stop := n.tell(ctx)
	err = n.w.run(ctx)
	stop()
	if err != nil {
		return err
	}
	n.o.Say("the disk gives back the whole image, with the digest " + x.RawDigest)
	n.finishing(ctx)
	return n.finish(ctx, r)
}

// usualBlock is what images are made for, in bytes.
const usualBlock = 512

// blocks looks at the first frame before anything is written, where the disk has blocks
// of another size than images are made for.
func (n *installation) blocks(ctx context.Context) error {
	if n.t.block == usualBlock {
		return nil
	}
	decoder, err := frames.NewDecoder(n.w.x)
	if err != nil {
		return err
	}
	defer decoder.Close()
	start, err := n.w.frame(ctx, decoder, 0, 0, make([]byte, n.w.largest()), make([]byte, n.w.x.FrameSize))
	if err != nil {
		return err
	}
	if b := gptBlock(start); b != 0 && b != n.t.block {
		return fmt.Errorf("%w: its partition table counts in blocks of %d bytes, %s has blocks of %d: make an image for such disks, or format the disk to %[2]d (nvme format, sg_format)", ErrBlocks, b, n.disk.Path, n.t.block)
	}
	return nil
}

// finish makes the disk bootable, and leaves the receipt last.
func (n *installation) finish(ctx context.Context, r *Receipt) error {
	start := n.w.first
	if b := gptBlock(start); b != 0 && b != n.t.block {
		return fmt.Errorf("the image's partition table counts in blocks of %d bytes, %s has blocks of %d, and would not boot: make an image for such disks", b, n.disk.Path, n.t.block)
	}
	r.Table = tableOf(start)
	if err := n.leave(r, tailAt(n.t.size)); err != nil {
		return err
	}
	if n.j.Install.Grow {
		g, err := grow(start, n.t.size, n.t.block)
		if err != nil {
			return err
		}
		n.o.Say(fmt.Sprintf("partition %d goes up to byte %d now", g.number, g.end))
		if err := errors.Join(n.t.write(g.backup, g.at), n.t.sync()); err != nil {
			return err
		}
		start = g.start
	}
	if err := n.t.write(start, 0); err != nil {
		return err
	}
	if err := n.settle(start, 0); err != nil {
		return err
	}
	if err := n.extras(ctx, start); err != nil {
		return err
	}
	r.State = Installed
	if n.roomAtHead(start) {
		if err := n.leave(r, headAt); err != nil {
			return err
		}
	}
	return n.leave(r, tailAt(n.t.size))
}

// extras are the files and the boot entry of a job.
func (n *installation) extras(ctx context.Context, start []byte) error {
	if files := n.j.Install.Files; len(files) > 0 {
		if n.o.Files == nil {
			return errors.New("the job has files, and this installer cannot write any")
		}
		n.o.Say(fmt.Sprintf("writing %d files", len(files)))
		// The kernel mounts no partition of a disk that somebody has for himself.
		if err := n.t.aside(func() error { return n.o.Files(ctx, n.disk.Path, files) }); err != nil {
			return fmt.Errorf("write the files of the job: %w", err)
		}
	}
	if loader := n.j.Install.BootEntry; loader != "" && n.o.BootEntry != nil {
		p, err := esp(start, n.t.block)
		if err != nil {
			return fmt.Errorf("make a boot entry for %s: %w", loader, err)
		}
		if err := n.o.BootEntry(p, loader, n.j.Image.Name); err != nil {
			return fmt.Errorf("make a boot entry for %s: %w", loader, err)
		}
	}
	return nil
}

// esp finds the EFI system partition.
func esp(start []byte, block int) (Partition, error) {
	h, err := parseGPTHeader(start, block)
	if err != nil {
		return Partition{}, err
	}
	table, err := h.table(start)
	if err != nil {
		return Partition{}, err
	}
	for _, e := range entriesOf(table) {
		if e.kind == espKind {
			return Partition{e.number, e.id, e.first, e.last - e.first + 1}, nil
		}
	}
	return Partition{}, errors.New("the image has no EFI system partition")
}

// roomAtHead reports whether the receipt can be before byte 1 MiB: the image has
// nothing there, and partitions begin behind.
func (n *installation) roomAtHead(start []byte) bool {
	if len(start) < head || bytes.Count(start[headAt:][:receiptSize], []byte{0}) != receiptSize {
		return false
	}
	old := oldPartitions(start, n.t.size, n.t.block)
	for _, p := range old {
		if p.from < head {
			return false
		}
	}
	return len(old) > 0
}

// leave writes a receipt and waits until it is there.
func (n *installation) leave(r *Receipt, at int64) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := n.t.write(b, at); err != nil {
		return fmt.Errorf("write the receipt: %w", err)
	}
	return n.settle(b, at)
}

// settle flushes the disk, and holds that it gives back what was written.
func (n *installation) settle(b []byte, at int64) error {
	if err := errors.Join(n.t.sync(), n.t.forget(at, int64(len(b)))); err != nil {
		return err
	}
	got := make([]byte, len(b))
	if err := readFull(n.t, got, at); err != nil {
		return err
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("%w: the disk does not give back what was written at byte %d: replace it", ErrAltered, at)
	}
	return nil
}
