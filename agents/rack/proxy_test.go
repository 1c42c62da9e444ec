package rackagent

import (
	"sync"
	"testing"

	"github.com/rackreach/rackreach/discovery"
)

// What two servers tell at once is told one after the other.
func TestInTurn(t *testing.T) {
	const each = 1000
	told := 0 // whoever writes it beside another is a race
	seen, trouble := inTurn(func(discovery.Seen) { told++ }, func(error) { told++ })
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range each {
				seen(discovery.Seen{})
				trouble(nil)
			}
		})
	}
	both.Wait()
	if told != 4*each {
		t.Errorf("%d were told of", told)
	}
	if seen, trouble := inTurn(nil, nil); seen != nil || trouble != nil {
		t.Error("nobody is told, and is called")
	}
}
