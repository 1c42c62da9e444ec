package coordinator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/messages"
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

// TestARevocationClosesWhatIsOpen, without waiting for anything to be said over it.
func TestARevocationClosesWhatIsOpen(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	a, other := s.c.attach("r1", &messages.Hello{}, 1), s.c.attach("r2", &messages.Hello{}, 1)
	until(t, "both are connected", func() bool { return s.connected("r1") && s.connected("r2") })
	if _, err := s.admin.Access.RevokeAgent(t.Context(), connect.NewRequest(&messages.RevokeAgentRequest{Rack: "r1"})); err != nil {
		t.Fatal(err)
	}
	until(t, "the revoked one is closed", func() bool {
		select {
		case <-a.Kicked():
			return true
		default:
			return false
		}
	})
	if err := a.Why(); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("it was closed because: %v", err)
	}
	until(t, "it is away", func() bool { return !s.connected("r1") })
	select {
	case <-other.Kicked():
		t.Errorf("another rack's agent was closed: %v", other.Why())
	default:
	}
}
