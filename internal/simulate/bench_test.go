package simulate

import "testing"

func BenchmarkRack42u(b *testing.B) {
	o := options(b, "rack-42u.yaml", 1, Realistic())
	o.Workers = 1
	b.ReportAllocs()
	for b.Loop() {
		run(b, o)
	}
}

func BenchmarkThousandRacks42u(b *testing.B) {
	o := options(b, "rack-42u.yaml", 1000, Realistic())
	for b.Loop() {
		run(b, o)
	}
}
