package actors

import (
	"slices"
	"sync"
	"testing"
)

// TestWhoseFirmwareWaitsIsHandedOn: until a server has its ticket, whoever answers DHCP is
// told that its firmware is to wait: acknowledged without one it would start what its disk
// holds. From the ticket on it does not wait: it is told what to boot once the ticket is live.
func TestWhoseFirmwareWaitsIsHandedOn(t *testing.T) {
	var mu sync.Mutex
	var told []string // of the server, once for each change
	note := func(o Offer) {
		mu.Lock()
		defer mu.Unlock()
		is := "waits"
		if !o.Pending["server-01"] {
			is = "does not"
		}
		for _, x := range o.Tickets {
			if x.Device == "server-01" && x.Open {
				is += ", ticket"
			}
		}
		if n := len(told); n == 0 || told[n-1] != is {
			told = append(told, is)
		}
	}
	drama(t, testRack("r2", 2, 0, 1), func(w *world) {
		w.options = func(o *Options) {
			before := o.Offer
			o.Offer = func(x Offer) { note(x); before(x) }
		}
	}, func(w *world) {
		w.ends()
		w.check(w.completed())
	})
	if want := []string{"does not", "waits", "does not", "does not, ticket", "does not"}; !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}
