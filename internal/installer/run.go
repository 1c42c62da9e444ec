//go:build linux

package installer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/rackreach/rackreach/internal/job"
)

// Options are what a job needs of its machine.
type Options struct {
	URL    *url.URL
	Client *http.Client // nil: one with what a transfer needs
	// Disks lists what the machine has. It is asked when the job is there.
	Disks func() ([]job.Disk, error)
	// Hardware finds what the machine has; nil: nothing is told of it.
	Hardware func(context.Context) job.Hardware
	// Files writes into the file systems of a disk, which the installer has closed for
	// that long; nil: a job with files fails.
	Files func(ctx context.Context, disk string, files []job.File) error
	// BootEntry makes the firmware's first boot entry; nil: the machine has no UEFI.
	BootEntry func(p Partition, loader, name string) error
	Say       func(string) // lines for people; nil: nobody listens
	Alive     func()       // called whenever bytes got further; nil: nobody counts
	Memory    int64        // bytes for frames in flight; 0: DefaultMemory
	Patience  time.Duration

	over func(medium) medium // lies over the disk; nil: nothing
}

// Outcome is how a job ended.
type Outcome struct {
	State   job.State
	Message string
	Holds   string // KeptBack: what the disk holds
	Kept    bool   // Installed: it was there already
	Then    job.Then
}

// ErrNoJob says that the agent has no such job, or has it no more: another boot may
// give another one. It is wrapped.
var ErrNoJob = errors.New("the agent has no job for this machine")

// Run does the job at a URL, reports how it ended, and returns that. err is not nil
// only when there was no job (ErrNoJob, job.ErrJob), when the agent did not take the
// report, or when ctx ended.
func Run(ctx context.Context, o Options) (Outcome, error) {
	if o.Client == nil {
		o.Client = newClient()
		defer o.Client.CloseIdleConnections()
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Alive == nil {
		o.Alive = func() {}
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	src := newSource(o.Client, o.Patience, o.Say)
	b, err := src.small(ctx, o.URL.String(), job.MaxJob)
	if final(err) {
		return Outcome{}, fmt.Errorf("%w: %w", ErrNoJob, err)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("fetch the job: %w", err)
	}
	j, err := job.Parse(b, o.URL)
	if err != nil {
		return Outcome{}, err
	}
	o.Say(fmt.Sprintf("job %s: install %s on %s of rack %s", j.Ticket, j.Image.Name, j.Device, j.Rack))
	before := o.describe(ctx, j, src, nil)
	out := o.carryOut(ctx, j, src)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	o.describe(ctx, j, src, before) // switches say what they are every half a minute
	return out, o.report(ctx, j, src, out)
}

// describe reports what the machine has, unless that was said before.
func (o *Options) describe(ctx context.Context, j *job.Job, src *source, before *job.Hardware) *job.Hardware {
	if j.Hardware == "" || o.Hardware == nil {
		return nil
	}
	h := o.Hardware(ctx)
	if before != nil && reflect.DeepEqual(h, *before) {
		return before
	}
	if err := src.post(ctx, j.Hardware, h); err != nil {
		o.Say("the agent did not take the report of the hardware: " + err.Error())
	}
	return &h
}

// carryOut does a job.
func (o *Options) carryOut(ctx context.Context, j *job.Job, src *source) Outcome {
	out := Outcome{State: job.Installed, Then: j.Install.Then}
	if out.Then == "" {
		out.Then = job.Reboot
	}
	err := o.onDisk(ctx, j, src, &out)
	if err != nil {
		out.State, out.Message = job.Failed, job.Printable(err.Error(), maxMessage)
	}
	return out
}

// maxMessage bounds the words of a report, in bytes: what agents take.
const maxMessage = 480

func (o *Options) onDisk(ctx context.Context, j *job.Job, src *source, out *Outcome) (err error) {
	disks, err := o.Disks()
	if err != nil {
		return fmt.Errorf("list the disks: %w", err)
	}
	disk, err := Choose(disks, j.Install.Disk)
	if err != nil {
		return err
	}
	t, err := openOver(disk.Path, o.over)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	c, err := Inspect(t, t.size, disk.Serial)
	if err != nil {
		return fmt.Errorf("%s: %w", disk.Path, err)
	}
	o.Say(fmt.Sprintf("disk %s, %d bytes, serial %s, holds %s", disk.Path, t.size, orNone(disk.Serial), orNothing(c.Holds())))
	switch Judge(c, j) {
	case KeepOut:
		out.State, out.Message, out.Holds = job.KeptBack, "the job does not name what the disk holds, and nothing was written", c.Holds()
		return nil
	case Keep:
		out.Kept = true
		return nil
	}
	n := &installation{o: o, j: j, disk: disk, t: t, had: c.Table, src: src}
	return n.do(ctx)
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// report says how it ended until the agent has it, or says that it does not want it.
func (o *Options) report(ctx context.Context, j *job.Job, src *source, out Outcome) error {
	r := job.Report{State: out.State, Message: out.Message, Holds: out.Holds}
	if out.State == job.Installed {
		r.Digest = j.Image.Digest
	}
	src.last.Store(time.Now().UnixNano()) // writing may have taken long
	err := src.again(ctx, func(ctx context.Context) (bool, error) { return false, src.post(ctx, j.Report, r) })
	if err != nil {
		return fmt.Errorf("report that the job ended (%s): %w", out.State, err)
	}
	return nil
}
