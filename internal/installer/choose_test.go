//go:build linux

package installer

import (
	"errors"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/job"
)

func TestChoose(t *testing.T) {
	const gib = 1 << 30
	small, large := job.Disk{Path: "/dev/sda", Size: 240 * gib, Serial: "A"}, job.Disk{Path: "/dev/sdb", Size: 960 * gib, Serial: "B"}
	stick := job.Disk{Path: "/dev/sdc", Size: 16 * gib, Serial: "C", USB: true}
	card := job.Disk{Path: "/dev/sdd", Size: 0, Removable: true}
	twin := job.Disk{Path: "/dev/sde", Size: 240 * gib, Serial: "A"}
	locked := job.Disk{Path: "/dev/sdf", Size: 240 * gib, Serial: "F", ReadOnly: true}
	for name, tt := range map[string]struct {
		disks []job.Disk
		rule  job.DiskRule
		want  string // empty: none
		says  string
	}{
		"the only one":                 {[]job.Disk{small}, job.DiskRule{}, "/dev/sda", ""},
		"the only one that stays":      {[]job.Disk{small, stick, card}, job.DiskRule{}, "/dev/sda", ""},
		"none":                         {nil, job.DiskRule{}, "", "there is no disk"},
		"two":                          {[]job.Disk{small, large}, job.DiskRule{}, "", "2 disks fit"},
		"by serial":                    {[]job.Disk{small, large}, job.DiskRule{Serial: "B"}, "/dev/sdb", ""},
		"a serial of two":              {[]job.Disk{small, twin}, job.DiskRule{Serial: "A"}, "", "2 disks fit serial A"},
		"a serial and a path":          {[]job.Disk{small, twin}, job.DiskRule{Serial: "A", Path: "/dev/sde"}, "/dev/sde", ""},
		"a path of another disk":       {[]job.Disk{small, large}, job.DiskRule{Serial: "A", Path: "/dev/sdb"}, "", "no disk fits path /dev/sdb, serial A"},
		"a part of a serial":           {[]job.Disk{{Path: "/dev/sda", Size: gib, Serial: "AB"}}, job.DiskRule{Serial: "A"}, "", "another serial number"},
		"by size":                      {[]job.Disk{small, large}, job.DiskRule{MinSize: 500 * gib}, "/dev/sdb", ""},
		"by most":                      {[]job.Disk{small, large}, job.DiskRule{MaxSize: 500 * gib}, "/dev/sda", ""},
		"a size of two":                {[]job.Disk{small, large}, job.DiskRule{MinSize: gib}, "", "2 disks fit at least"},
		"too small":                    {[]job.Disk{small}, job.DiskRule{MinSize: 500 * gib}, "", "too small"},
		"a stick":                      {[]job.Disk{stick}, job.DiskRule{}, "", "on USB"},
		"a stick by its serial number": {[]job.Disk{small, stick}, job.DiskRule{Serial: "C"}, "/dev/sdc", ""},
		"a reader without a card":      {[]job.Disk{card}, job.DiskRule{Path: "/dev/sdd"}, "", "no medium"},
		"read-only":                    {[]job.Disk{locked}, job.DiskRule{}, "", "read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Choose(tt.disks, tt.rule)
			if got.Path != tt.want || (err == nil) != (tt.want != "") || err != nil && (!errors.Is(err, ErrNoDisk) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%q, %v", got.Path, err)
			}
		})
	}
}
