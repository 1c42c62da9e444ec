//go:build linux

package installer

import "github.com/rackreach/rackreach/internal/job"

// Verdict is what is done with a disk.
type Verdict int

// The verdicts.
const (
	Write   Verdict = iota // it is blank, half written by this run, or given up by name
	Keep                   // what the job asks for is there already
	KeepOut                // it holds something that the job does not name
)

// Judge decides before anything is overwritten. A job that came out of a state
// directory that knows nothing of this disk names nothing, and destroys nothing.
func Judge(c Content, j *job.Job) Verdict {
	holds, r := c.Holds(), c.Receipt
	switch {
	case holds == "" || holds == j.Overwrites:
		return Write
	case c.Foreign != "" || !r.of(j):
		return KeepOut
	case r.State == Writing:
		return Write
	case r.Digest == j.Image.Digest:
		return Keep
	}
	return KeepOut
}
