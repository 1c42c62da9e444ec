package rackagent

import (
	"reflect"
	"testing"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// What the rack file says of the disk reaches the installer's job; nothing of another
// installer's does.
func TestDiskImage(t *testing.T) {
	x := rack.Install{Installer: rack.DiskImage, Disk: rack.DiskRule{Path: "/dev/sda", Serial: "S1", MinSize: 1, MaxSize: 2}, Grow: true, BootEntry: `\EFI\x`}
	want := &job.Install{Disk: job.DiskRule{Path: "/dev/sda", Serial: "S1", MinSize: 1, MaxSize: 2}, Grow: true, BootEntry: `\EFI\x`}
	if got := diskImage(&x); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	x.Installer = rack.Preseed
	if got := diskImage(&x); got != nil || diskImage(nil) != nil {
		t.Errorf("%+v", got)
	}
}
