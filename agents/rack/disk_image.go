package rackagent

import (
	"fmt"

	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// diskImage is how rackreach's own installer writes an image, as the rack file says;
// nil: on the only disk that there is.
func diskImage(x *rack.Install) *job.Install {
	if x == nil || x.Installer != rack.DiskImage {
		return nil
	}
	return &job.Install{Grow: x.Grow, BootEntry: x.BootEntry,
		Disk: job.DiskRule{Path: x.Disk.Path, Serial: x.Disk.Serial, MinSize: x.Disk.MinSize, MaxSize: x.Disk.MaxSize}}
}

// seedFolder is where cloud-init finds a seed in the file system that it runs from
// (NoCloud of cloud-init's documentation; ds-identify looks there, too).
const seedFolder = "/var/lib/cloud/seed/nocloud/"

// seed makes what cloud-init in a disk image reads at its first start.
func (n *native) seed(t boot.Ticket, base string) ([]job.File, error) {
	d, ok := n.rack.Device(t.Device)
	if !ok || !d.Seeded() {
		return nil, nil
	}
	j := n.bare(t, base)
	if err := n.fill(j, d); err != nil {
		return nil, err
	}
	var out []job.File
	for _, name := range answerfile.FilesOf(d.Install) {
		b, err := j.File(name)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", name, d.Name, err)
		}
		out = append(out, job.File{Partition: d.Install.Seed, Path: seedFolder + name, Mode: 0o600, Content: string(b)})
	}
	return out, nil
}
