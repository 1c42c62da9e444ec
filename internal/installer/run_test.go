//go:build linux

package installer

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/job"
)

// A blank disk gets the image and its receipt; the same job finds it there; a later run
// is refused, until its job names what the disk holds.
func TestInstall(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	if out := a.run(disk); out.State != job.Installed || out.Kept || out.Then != job.Reboot {
		t.Fatalf("%+v", out)
	}
	holdsImage(t, disk, a.raw)
	c, _ := on(t, disk)
	want := Receipt{Rack: "r1", Device: "server-01", Run: "run-1", Ticket: "r1/server-01/1", Image: "debian-13", Digest: a.job.Image.Digest, State: Installed,
		Table: "gpt 6b736964-6f20-2066-696d-616765203031", Disk: "DISK-1"}
	if c.Foreign != "" || c.Receipt == nil || *c.Receipt != want {
		t.Errorf("%+v %+v", c.Foreign, c.Receipt)
	}
	if len(a.hardware) != 1 || a.hardware[0].Serial != "MACHINE-1" {
		t.Errorf("hardware %+v", a.hardware)
	}

	a.with(func() { a.requests = 0 })
	if out := a.run(disk); out.State != job.Installed || !out.Kept || a.requests != 0 {
		t.Errorf("again: %+v after %d requests", out, a.requests)
	}

	b := newAgent(t, image(2))
	b.job.Run, b.job.Ticket = "run-2", "r1/server-01/2"
	const holds = "receipt:run-1/r1/server-01/1"
	if out := b.run(disk); out.State != job.KeptBack || out.Holds != holds || b.requests != 0 {
		t.Errorf("another run: %+v", out)
	}
	holdsImage(t, disk, a.raw)
	b.job.Overwrites = holds
	if out := b.run(disk); out.State != job.Installed || out.Kept {
		t.Errorf("named: %+v", out)
	}
	holdsImage(t, disk, b.raw)

	if want := []job.Report{{State: job.Installed, Digest: a.job.Image.Digest}, {State: job.Installed, Digest: a.job.Image.Digest}}; !slices.Equal(a.reports, want) {
		t.Errorf("reports %+v", a.reports)
	}
	if want := []job.Report{{State: job.KeptBack, Message: "the job does not name what the disk holds, and nothing was written", Holds: holds}, {State: job.Installed, Digest: b.job.Image.Digest}}; !slices.Equal(b.reports, want) {
		t.Errorf("reports %+v", b.reports)
	}
}

// A network that breaks again and again costs no byte twice but those that were on
// their way.
func TestNetworkCut(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.cut = func(n int) int {
		if n%3 == 2 {
			return -1
		}
		return 700_000 * (n%2 + 1)
	}
	if out := a.run(disk); out.State != job.Installed {
		t.Fatalf("%+v", out)
	}
	holdsImage(t, disk, a.raw)
	a.with(func() {
		if a.requests < 6 || a.served > len(a.compressed)+len(a.compressed)/2 {
			t.Errorf("%d requests, %d bytes of %d", a.requests, a.served, len(a.compressed))
		}
	})
}

// An agent that is not ready yet is asked again.
func TestAgentComesLate(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.busy = 2
	if out := a.run(disk); out.State != job.Installed {
		t.Fatalf("%+v", out)
	}
}

// A frame that was damaged on its way is fetched again.
func TestDamagedOnTheWay(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.hurt = func(n int, b []byte) {
		if n < 2 {
			b[len(b)/2] ^= 1
			b[5000] ^= 1
		}
	}
	if out := a.run(disk); out.State != job.Installed {
		t.Fatalf("%+v", out)
	}
	holdsImage(t, disk, a.raw)
}

// What was damaged where it comes from never gets on the disk; the disk does not boot,
// and says that it is not whole.
func TestDamagedAtTheAgent(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.hurt = func(_ int, b []byte) { b[len(b)-20] ^= 1 }
	out := a.run(disk)
	if out.State != job.Failed || !strings.Contains(out.Message, "not the one of the job") || !strings.Contains(out.Message, "frame 2") {
		t.Fatalf("%+v", out)
	}
	c, all := on(t, disk)
	if c.Receipt == nil || c.Receipt.State != Writing || strings.Trim(string(all[:head]), "\x00") != "" {
		t.Errorf("%+v, and the start of the disk is not blank", c)
	}
	for at := head; at < rawSize; at += 512 {
		if b := all[at:][:512]; strings.Trim(string(b), "\x00") != "" && !bytes.Equal(b, a.raw[at:][:512]) {
			t.Fatalf("byte %d is neither blank nor of the image", at)
		}
	}
	if want := []job.Report{{State: job.Failed, Message: out.Message}}; !slices.Equal(a.reports, want) {
		t.Errorf("reports %+v", a.reports)
	}
	a.with(func() { a.hurt = nil })
	if out := a.run(disk); out.State != job.Installed { // the same run goes on by itself
		t.Errorf("%+v", out)
	}
}

// A frame that came as it was signed, and holds other bytes than the index says, is found
// on the disk, which does not boot then.
func TestWrongIndex(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	x, err := frames.Parse(a.index)
	if err != nil {
		t.Fatal(err)
	}
	x.Frames[1].Raw = x.Frames[0].Raw
	if a.index, err = x.Encode(); err != nil {
		t.Fatal(err)
	}
	a.job.Image.Frames.Digest = digestOf(a.index)
	out := a.run(disk)
	if out.State != job.Failed || !strings.Contains(out.Message, "frame 1 came as it was signed, and unpacks to other bytes") {
		t.Errorf("%+v", out)
	}
	if c, all := on(t, disk); c.Receipt == nil || c.Receipt.State != Writing || strings.Trim(string(all[:head]), "\x00") != "" {
		t.Errorf("%+v, and the start of the disk is not blank", c)
	}
}

// Every refusal leaves the disk as it was.
func TestNothingIsWritten(t *testing.T) {
	for name, tt := range map[string]struct {
		size int64
		prep func(*agent, *os.File)
		want string
		says string
	}{
		"too small":           {11 << 20, nil, "failed", "the disk is too small, and nothing was written"},
		"far too small":       {4 << 20, nil, "failed", "the disk is too small, and nothing was written"},
		"a wrong index":       {diskSize, func(a *agent, _ *os.File) { a.index[20]++ }, "failed", "its index of frames has another digest"},
		"another image":       {diskSize, func(a *agent, _ *os.File) { a.job.Image.Raw.Size++ }, "failed", "of another image"},
		"foreign data":        {diskSize, func(_ *agent, f *os.File) { _, _ = f.WriteAt([]byte("XFSB"), 0) }, "refused", "foreign:xfs 00000000-0000-0000-0000-000000000000, sum "},
		"another text":        {diskSize, func(a *agent, f *os.File) { a.job.Overwrites = "foreign:ext4"; _, _ = f.WriteAt([]byte{1}, 9<<20) }, "refused", "foreign:unknown data at byte 9437184, sum "},
		"another disk wanted": {diskSize, func(a *agent, _ *os.File) { a.job.Install.Disk.Serial = "DISK-2" }, "failed", "it is not certain which disk is meant, and nothing was written"},
	} {
		t.Run(name, func(t *testing.T) {
			a, disk := newAgent(t, image(1)), blank(t, tt.size)
			if tt.prep != nil {
				f, err := os.OpenFile(disk, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				tt.prep(a, f)
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.ReadFile(disk)
			if err != nil {
				t.Fatal(err)
			}
			out := a.run(disk)
			if string(out.State) != tt.want || !strings.Contains(out.Message+out.Holds, tt.says) {
				t.Errorf("%+v", out)
			}
			if after, err := os.ReadFile(disk); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the disk was written: %v", err)
			}
		})
	}
}

// No job, a job that is over, and one that nobody can do.
func TestNoJob(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.closed = http.StatusGone
	if _, err := Run(t.Context(), a.options(disk)); !errors.Is(err, ErrNoJob) {
		t.Error(err)
	}
	a.closed, a.job.Install = 0, nil
	if _, err := Run(t.Context(), a.options(disk)); !errors.Is(err, job.ErrJob) {
		t.Error(err)
	}
}

// The power goes at every request of an installation. Then the disk is as it was, or
// says that it is being written, or holds all of it; and the same job ends well.
func TestPowerCut(t *testing.T) {
	for n := range 4 {
		a, disk := newAgent(t, image(1)), blank(t, diskSize)
		ctx, cancel := context.WithCancel(t.Context())
		a.each = func(request int) {
			if request == n {
				cancel()
			}
		}
		a.cut = func(int) int { return 1 << 20 }
		_, err := Run(ctx, a.options(disk))
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		c, all := on(t, disk)
		if c.Receipt == nil || c.Receipt.State != Writing || strings.Trim(string(all[:head]), "\x00") != "" {
			t.Errorf("cut at request %d: %+v", n, c)
		}
		a.with(func() { a.each, a.cut = nil, nil })
		if out := a.run(disk); out.State != job.Installed || out.Kept {
			t.Errorf("after the cut at request %d: %+v", n, out)
		}
		holdsImage(t, disk, a.raw)
	}
}

// Somebody puts a system of his own on a disk that this run has written in part. It is
// his.
func TestAnotherSystemOnAHalfWrittenDisk(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	a.hurt = func(_ int, b []byte) { b[len(b)-20] ^= 1 }
	if out := a.run(disk); out.State != job.Failed {
		t.Fatalf("%+v", out)
	}
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(image(7), 0)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	a.with(func() { a.hurt = nil })
	if out := a.run(disk); out.State != job.KeptBack {
		t.Errorf("%+v", out)
	}
	if _, all := on(t, disk); !bytes.Equal(all[:rawSize], image(7)) {
		t.Error("it was overwritten")
	}
}

// Files that cannot be written fail the job, and the disk says that it is not done; the
// same run goes on.
func TestFilesFail(t *testing.T) {
	a, disk := newAgent(t, image(1)), blank(t, diskSize)
	o := a.options(disk)
	a.job.Install.Files = []job.File{{Partition: 1, Path: "/etc/hostname", Content: "server-01"}}
	o.Files = func(context.Context, string, []job.File) error { return errors.New("no such partition") }
	if out, err := Run(t.Context(), o); err != nil || out.State != job.Failed {
		t.Fatalf("%+v, %v", out, err)
	}
	if c, all := on(t, disk); c.Receipt == nil || c.Receipt.State != Writing || !bytes.Equal(all[:4096], a.raw[:4096]) {
		t.Fatalf("%+v", c)
	}
	o.Files = func(context.Context, string, []job.File) error { return nil }
	if out, err := Run(t.Context(), o); err != nil || out.State != job.Installed || out.Kept {
		t.Errorf("%+v, %v", out, err)
	}
}

// The memory that is stated is what frames in flight may take.
func TestMemory(t *testing.T) {
	a := newAgent(t, image(1))
	n := &installation{j: &a.job, src: newSource(a.Client(), 0, func(string) {})}
	x, err := n.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for memory, want := range map[int64]int{0: 1, 16 << 20: 1, 28 << 20: 2, 1 << 30: 3} {
		w := &writer{x: x, memory: memory}
		if got := w.workers(); got != want {
			t.Errorf("%d bytes: %d workers, want %d", memory, got, want)
		}
	}
}
