package wire

import (
	"sync"
	"testing"
	"time"
)

// Sleep may take longer than asked, and never less, whoever else sleeps.
func TestSleep(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for _, d := range []time.Duration{-time.Second, 0, 1, time.Microsecond, time.Duration(i) * 100 * time.Microsecond, longest, longest + 1} {
				began := time.Now()
				if Sleep(d); time.Since(began) < d {
					t.Errorf("%s of %s", time.Since(began), d)
				}
			}
		})
	}
	wg.Wait()
}
