package boot

import (
	"testing"

	"pgregory.net/rapid"
)

// The transfer agrees with a map of single bytes, and tells of the whole once.
func TestTransferProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 60).Draw(t, "size")
		told := 0
		x := newTransfer(size, func() { told++ })
		seen := map[int64]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "spans") {
			from := rapid.Int64Range(-2, 62).Draw(t, "from")
			to := from + rapid.Int64Range(-1, 20).Draw(t, "length")
			x.add(span{from, to})
			for i := max(from, 0); i < min(to, size); i++ {
				seen[i] = true
			}
			if served, _ := x.progress(); served != int64(len(seen)) {
				t.Fatalf("served %d, want %d", served, len(seen))
			}
			for i := range x.spans {
				if s := x.spans[i]; s.from >= s.to || i > 0 && x.spans[i-1].to >= s.from {
					t.Fatalf("spans %v", x.spans)
				}
			}
		}
		if whole := size > 0 && int64(len(seen)) == size; whole != (told == 1) || told > 1 {
			t.Fatalf("told %d times, whole %t", told, whole)
		}
	})
}

func TestTransferBound(t *testing.T) {
	x := newTransfer(1<<20, func() { t.Error("whole") })
	for i := range int64(2 * maxSpans) {
		x.add(span{2 * i, 2*i + 1})
	}
	if served, _ := x.progress(); len(x.spans) != maxSpans || served != maxSpans {
		t.Errorf("%d spans, %d bytes", len(x.spans), served)
	}
}
