package access

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of the refusals that are written down, so that a flood of them neither
// fills the disk nor drives what matters out of the trail: at worst 9,000 lines a
// day, about 3 MB.
const (
	refusalsAtOnce    = 1000
	refusalEvery      = 10 * time.Second
	refusalsAtOnceOne = 30 // of one caller or source
	refusalEveryOne   = time.Minute
	maxCallers        = 1024 // that are told apart; beyond, all others count as one
)

// throttle decides which refusals are written down.
type throttle struct {
	mu      sync.Mutex
	all     time.Time            // until when the allowance of all is used up
	callers map[string]time.Time // … that of a caller
	left    uint64               // out since the last that was written
}

// allow reports whether a refusal is to be written down, and how many before it
// were not.
func (t *throttle) allow(name, from string, now time.Time) (before uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.key(name, from, now)
	one, okOne := spend(t.callers[key], now, refusalsAtOnceOne, refusalEveryOne)
	all, okAll := spend(t.all, now, refusalsAtOnce, refusalEvery)
	if !okOne || !okAll {
		t.left++
		return 0, false
	}
	t.callers[key], t.all = one, all
	before, t.left = t.left, 0
	return before, true
}

func (t *throttle) unwritten() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left
}

// spend takes one from an allowance that is used up until a moment.
func spend(until, now time.Time, atOnce int, every time.Duration) (time.Time, bool) {
	if until.Before(now) {
		until = now
	}
	until = until.Add(every)
	return until, !until.After(now.Add(time.Duration(atOnce) * every))
}

// key is under which caller a refusal counts: the name that was proved, else the
// address, of IPv6 the network. The caller of key holds mu.
func (t *throttle) key(name, from string, now time.Time) string {
	key := "name " + name
	if name == "" {
		key = "from " + network(from)
	}
	if t.callers == nil {
		t.callers = map[string]time.Time{}
	}
	if _, known := t.callers[key]; known || len(t.callers) < maxCallers {
		return key
	}
	for k, until := range t.callers {
		if !until.After(now) {
			delete(t.callers, k)
		}
	}
	if len(t.callers) < maxCallers {
		return key
	}
	return "others"
}

func network(from string) string {
	host, _, err := net.SplitHostPort(from)
	if err != nil {
		return "elsewhere"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "elsewhere"
	}
	ip, bits := ip.Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return "elsewhere"
	}
	return p.String()
}
