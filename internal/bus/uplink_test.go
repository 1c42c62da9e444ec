package bus

import (
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"
)

// Only what the door itself says is final ends an uplink: a proxy on the way may
// answer with the same code.
func TestWhatEndsAnUplink(t *testing.T) {
	var fatal *fatalError
	var apart *Diverged
	if err := judged(diverged("event 7 differs")); !errors.As(err, &fatal) || !errors.As(err, &apart) || apart.What != "event 7 differs" {
		t.Errorf("diverged: %v", err)
	}
	var other *Superseded
	if err := judged(superseded("r1", Head{Epoch: 3}, time.Time{})); !errors.As(err, &fatal) || !errors.As(err, &other) || other.By.GetEpoch() != 3 {
		t.Errorf("superseded: %v", err)
	}
	if err := judged(connect.NewError(connect.CodeFailedPrecondition, errors.New("412"))); errors.As(err, &fatal) {
		t.Errorf("a proxy's answer is final: %v", err)
	}
}
