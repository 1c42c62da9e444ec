package pki

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed enrollments. A secret cannot be guessed anyway; this bounds
// what guessing costs.
const (
	failuresAtOnce = 10              // of one source
	failureEvery   = 6 * time.Second // after those
	maxSources     = 1024            // that are remembered; beyond, all others count as one
)

// throttle counts the failures of each source and tells who must wait.
type throttle struct {
	mu      sync.Mutex
	sources map[netip.Prefix]time.Time // when a source has no failure left
}

// source is what counts as one caller: an IPv4 address, an IPv6 network of /64.
func source(addr string) netip.Prefix {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// wait is how long a source has to wait; 0: not at all.
func (t *throttle) wait(from netip.Prefix, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.sources[t.slot(from)].Add(-(failuresAtOnce-1)*failureEvery).Sub(now))
}

// failed counts a failure.
func (t *throttle) failed(from netip.Prefix, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sources == nil {
		t.sources = map[netip.Prefix]time.Time{}
	}
	if len(t.sources) >= maxSources {
		for p, until := range t.sources {
			if !until.After(now) {
				delete(t.sources, p)
			}
		}
	}
	from = t.slot(from)
	until := t.sources[from]
	if until.Before(now) {
		until = now
	}
	t.sources[from] = until.Add(failureEvery)
}

// slot is under which source a caller is counted. The caller holds mu.
func (t *throttle) slot(from netip.Prefix) netip.Prefix {
	if _, known := t.sources[from]; !known && len(t.sources) >= maxSources {
		return netip.Prefix{}
	}
	return from
}
