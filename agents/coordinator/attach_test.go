package coordinator

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/fleetlog"
)

// TestTheDoorUnderstandsTheLog: what an agent is told hangs on these words.
func TestTheDoorUnderstandsTheLog(t *testing.T) {
	for ours, theirs := range map[error]error{fleetlog.ErrFenced: bus.ErrFenced, fleetlog.ErrGap: bus.ErrGap, fleetlog.ErrDiverged: bus.ErrDiverged} {
		got := told(fmt.Errorf("append to rack r1: %w", ours))
		for _, e := range []error{bus.ErrFenced, bus.ErrGap, bus.ErrDiverged} {
			if errors.Is(got, e) != (e == theirs) {
				t.Errorf("%v is told as %v", ours, got)
			}
		}
		if !errors.Is(got, ours) {
			t.Errorf("%v is lost on the way: %v", ours, got)
		}
	}
	if err := errors.New("the disk is full"); told(err) != err || told(nil) != nil {
		t.Error("any other error must stay as it is")
	}
}
