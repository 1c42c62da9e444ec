package rackagent

import (
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
