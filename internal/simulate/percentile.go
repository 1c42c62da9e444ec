package simulate

import (
	"slices"
	"time"
)

// Spread is how durations are spread. All are whole milliseconds.
type Spread struct {
	Samples int   `json:"samples"`
	P50     int64 `json:"p50Ms"`
	P90     int64 `json:"p90Ms"`
}

// spread sorts its samples.
func spread(samples []time.Duration) Spread {
	slices.Sort(samples)
	return Spread{len(samples), percentile(samples, 50).Milliseconds(), percentile(samples, 90).Milliseconds()}
}

// percentile is the smallest of the sorted samples that p percent of them do
// not exceed (nearest rank); 0 without samples.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (p*len(sorted) + 99) / 100
	return sorted[min(max(rank, 1), len(sorted))-1]
}
