package lease

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// BenchmarkBatch is what a batch of 32 clients costs the store: 32 offers, 32
// leases, one commit. CPU time a client is ns/op of the memory case / 32, plus the
// share of the commit.
func BenchmarkBatch(b *testing.B) {
	const clients, batch = 40_000, 32
	p := Pool{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.255.254")}
	for name, open := range map[string]func() (*Store, error){
		"memory": func() (*Store, error) { return Memory(Options{}), nil },
		"disk":   func() (*Store, error) { return Open(filepath.Join(b.TempDir(), "leases"), Options{}) },
	} {
		b.Run(name, func(b *testing.B) {
			s, err := open()
			if err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			next := uint32(0)
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					h := Hardware{2, 0, 0, byte(next >> 16), byte(next >> 8), byte(next)}
					next = (next + 1) % clients
					a, err := s.Offer(Holder{Hardware: h}, p, netip.Addr{}, now)
					if err != nil {
						b.Fatal(err)
					}
					if err := s.Bind(Lease{Address: a, Holder: Holder{Hardware: h}, Hardware: h, Stage: rack.StageOS, Pool: true, Ends: now.Add(time.Hour)}, now); err != nil {
						b.Fatal(err)
					}
				}
				if err := s.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.Stats().Stored), "stored")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
