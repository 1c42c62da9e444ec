//go:build linux

package installer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rackreach/rackreach/internal/job"
)

// ErrNoDisk says that no disk, or more than one, is the one that is meant. It is
// wrapped.
var ErrNoDisk = errors.New("it is not certain which disk is meant, and nothing was written")

// Choose finds the one disk that a rule means. A disk that is named neither by its path
// nor by its serial number must not be removable or on USB: those come and go. Error:
// ErrNoDisk, wrapped, with each disk and what speaks against it.
func Choose(disks []job.Disk, rule job.DiskRule) (job.Disk, error) {
	var fit []job.Disk
	var seen []string
	for _, d := range disks {
		why := against(d, rule)
		if why == "" {
			fit = append(fit, d)
			why = "fits"
		}
		seen = append(seen, fmt.Sprintf("%s (%d bytes, serial %s): %s", d.Path, d.Size, orNone(d.Serial), why))
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(disks) == 0:
		return job.Disk{}, fmt.Errorf("%w: there is no disk: is its driver in the initramfs?", ErrNoDisk)
	case len(fit) == 0:
		return job.Disk{}, fmt.Errorf("%w: no disk fits %s: %s", ErrNoDisk, words(rule), strings.Join(seen, "; "))
	}
	return job.Disk{}, fmt.Errorf("%w: %d disks fit %s, name one by its serial number: %s", ErrNoDisk, len(fit), words(rule), strings.Join(seen, "; "))
}

// against says why a disk is not the one; empty: nothing speaks against it.
func against(d job.Disk, rule job.DiskRule) string {
	named := rule.Path != "" || rule.Serial != ""
	switch {
	case rule.Path != "" && d.Path != rule.Path:
		return "another path"
	case rule.Serial != "" && d.Serial != rule.Serial:
		return "another serial number"
	case d.Size <= 0:
		return "no medium"
	case d.ReadOnly:
		return "read-only"
	case d.Size < rule.MinSize:
		return "too small"
	case rule.MaxSize > 0 && d.Size > rule.MaxSize:
		return "too large"
	case !named && d.Removable:
		return "removable"
	case !named && d.USB:
		return "on USB"
	}
	return ""
}

// words is a rule for people.
func words(r job.DiskRule) string {
	var out []string
	if r.Path != "" {
		out = append(out, "path "+r.Path)
	}
	if r.Serial != "" {
		out = append(out, "serial "+r.Serial)
	}
	if r.MinSize > 0 {
		out = append(out, fmt.Sprintf("at least %d bytes", r.MinSize))
	}
	if r.MaxSize > 0 {
		out = append(out, fmt.Sprintf("at most %d bytes", r.MaxSize))
	}
	if len(out) == 0 {
		return "a job that names none"
	}
	return strings.Join(out, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
