package audit

import (
	"errors"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
)

func TestRealJournalsHold(t *testing.T) {
	for _, x := range recorded {
		t.Run(x.name, func(t *testing.T) {
			p, err := Prove(example(t, x.rack), platform.All(), record(t, x.name))
			var v *Violation
			if errors.As(err, &v) {
				t.Errorf("%v", v)
			}
			t.Log(joined(p.Lines()))
		})
	}
}
