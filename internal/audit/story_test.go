package audit

import (
	"slices"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// story is a journal that a test changes.
type story struct {
	t      testing.TB
	events []rack.Event
}

func (s *story) at(n int, k rack.Kind, device, step string) int {
	return at(s.t, s.events, n, k, device, step)
}

// drop takes events out.
func (s *story) drop(at ...int) {
	slices.Sort(at)
	for _, i := range slices.Backward(at) {
		s.events = slices.Delete(s.events, i, i+1)
	}
}

// insert puts an event before index i, at the time of the one before it.
func (s *story) insert(i int, e rack.Event) {
	e.Rack, e.Time = s.events[0].Rack, s.events[max(0, i-1)].Time
	s.events = slices.Insert(s.events, i, e)
}

// add puts events at the end.
func (s *story) add(events ...rack.Event) {
	for _, e := range events {
		s.insert(len(s.events), e)
	}
}

// move puts event i at index to, at the time of what stood there.
func (s *story) move(i, to int) {
	e := s.events[i]
	s.drop(i)
	s.insert(to, e)
}

// later delays everything from index i on.
func (s *story) later(i int, d time.Duration) {
	for ; i < len(s.events); i++ {
		s.events[i].Time = s.events[i].Time.Add(d)
	}
}

func event(k rack.Kind, device string, d rack.Detail) rack.Event {
	return rack.Event{Kind: k, Device: device, Detail: d}
}

func stepEvent(k rack.Kind, device string, p rack.Phase, step string, attempt int) rack.Event {
	return rack.Event{Kind: k, Device: device, Phase: p, Detail: rack.Detail{Step: step, Attempt: attempt}}
}
