package boot

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rackreach/rackreach/internal/job"
)

// told is what an installer said of its machine and of its work, under one ticket.
type told struct {
	hardware atomic.Pointer[job.Hardware]
	progress atomic.Pointer[job.Progress]
	stolen   atomic.Bool // another device asked with its token

	mu      sync.Mutex
	quarter int64 // of the image that the last line was about
	changes int   // lines that were made of hardware and problems
	found   int   // how often it was told what is in the machine
}

// maxChanges bounds the lines of one ticket about hardware and problems: an installer
// says them twice, and a stranger with its token as often as it likes.
const maxChanges = 1 + job.MaxProblems

// goesOn takes in a progress, and returns a line for each quarter of the image; empty:
// that was said.
func (t *told) goesOn(p *job.Progress) string {
	t.progress.Store(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	quarter := p.Checked * 4 / p.Total
	if quarter <= t.quarter {
		return ""
	}
	t.quarter = quarter
	return fmt.Sprintf("%d %% of the image is written and read back", quarter*25)
}

// has takes in what a machine has, and returns a line of it, the first time, and one of
// each problem that is new.
func (t *told) has(h *job.Hardware) (lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.hardware.Swap(h)
	if before == nil {
		lines = append(lines, summary(h))
		before = &job.Hardware{}
	}
	for _, p := range h.Problems {
		if !slices.Contains(before.Problems, p) {
			lines = append(lines, job.Printable("problem: "+p, MaxSaid))
		}
	}
	lines = lines[:min(len(lines), maxChanges-t.changes)]
	t.changes += len(lines)
	return lines
}

// finds reports whether somebody is to be told once more what is in the machine.
func (t *told) finds() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found++
	return t.found <= maxChanges
}

// summary is what a machine has, in one line.
func summary(h *job.Hardware) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s, %s, %d threads, %d bytes of memory", h.Vendor, h.Model, h.Serial, h.Firmware, h.Threads, h.Memory)
	for _, d := range h.Disks {
		fmt.Fprintf(&b, "; %s %d bytes %s", d.Path, d.Size, d.Serial)
	}
	for _, n := range h.NICs {
		link := "no link"
		if n.Link {
			link = "link"
		}
		fmt.Fprintf(&b, "; %s %s %s", n.Name, n.MAC, link)
	}
	return job.Printable(b.String(), MaxSaid)
}
