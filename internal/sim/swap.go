package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Swap is two cables that were plugged the wrong way round: two to other racks at their
// far ends, or two of servers, on the same network.
type Swap struct{ A, B rack.Port } // their near ends

// String is what ParseSwap reads.
func (s Swap) String() string { return s.A.String() + "=" + s.B.String() }

const swapSyntax = "write PORT=PORT with two ports that the rack file cables to other racks, such as inter-rack-1:7=inter-rack-1:8, or to servers on one network, such as tor-1:1=tor-1:2"

// ParseSwap reads "inter-rack-1:7=inter-rack-1:8". The error says what to write
// instead.
func ParseSwap(s string) (Swap, error) {
	a, b, _ := strings.Cut(s, "=")
	near, errA := rack.ParsePort(a)
	far, errB := rack.ParsePort(b)
	if errA != nil || errB != nil || near == far {
		return Swap{}, fmt.Errorf("swapped links %q: %s", s, swapSyntax)
	}
	return Swap{near, far}, nil
}

// CheckSwaps checks that every swap can happen in a rack: both of its ports lead
// to other racks, or both to servers on one network, and no port is swapped twice. All
// problems are returned, joined.
func CheckSwaps(swaps []Swap, r *rack.Rack) error {
	var errs []error
	seen := map[rack.Port]bool{}
	cables := rack.NewCabling(r)
	for _, s := range swaps {
		a, b := leadsTo(s.A, r, cables), leadsTo(s.B, r, cables)
		if a != "" && b != "" && a != b {
			errs = append(errs, fmt.Errorf("swapped links %s: one is of %s, the other of %s: %s", s, a, b, swapSyntax))
		}
		for i, p := range []rack.Port{s.A, s.B} {
			switch {
			case [2]string{a, b}[i] == "":
				errs = append(errs, fmt.Errorf("swapped links %s: no link of rack %s leads from %s to another rack, or to a server: %s", s, r.Name, p, swapSyntax))
			case seen[p]:
				errs = append(errs, fmt.Errorf("swapped links %s: %s is swapped already: name each port once", s, p))
			}
			seen[p] = true
		}
	}
	return errors.Join(errs...)
}

// leadsTo is what a port leads to: the words for another rack, a network for a server on
// it; "": something that cannot be swapped.
func leadsTo(p rack.Port, r *rack.Rack, cables *rack.Cabling) string {
	if slices.ContainsFunc(r.Links, func(l rack.Link) bool { _, _, out := abroad(l.B); return out && l.A == p }) {
		return "the links between racks"
	}
	if c, ok := cables.At(p); ok {
		if d, ok := r.Device(c.Device); ok && d.Role == rack.Server {
			return "the " + string(c.Network) + " network"
		}
	}
	return ""
}

// Swap plugs two data cables of servers the other way round while the rack runs: what was
// swapped is right again. The switches forget whom they heard there, as they do when a
// link goes down.
func (s *Sim) Swap(x Swap) error {
	if err := CheckSwaps([]Swap{x}, s.rack); err != nil {
		return err
	}
	switch leadsTo(x.A, s.rack, rack.NewCabling(s.rack)) {
	case "the links between racks":
		return fmt.Errorf("swapped links %s: they lead to another rack: only data cables of servers are swapped while the rack runs", x)
	case "the management network":
		return fmt.Errorf("swapped links %s: a BMC keeps the address that it got through the other cable: only data cables of servers are swapped while the rack runs", x)
	}
	s.fabric.swap(x)
	s.record.add(kindSwapped, "", nil, detail{"ports": x.String()})
	return nil
}

// swap plugs the cables of two ports the other way round, as far as they are of ends.
func (f *fabric) swap(x Swap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.ends {
		switch e.near() {
		case x.A:
			e.plug.Store(&x.B)
		case x.B:
			e.plug.Store(&x.A)
		}
	}
	f.macMu.Lock()
	for device, s := range f.switches {
		s.order = slices.DeleteFunc(s.order, func(h hearing) bool {
			gone := rack.Port{Device: device, Name: h.port} == x.A || rack.Port{Device: device, Name: h.port} == x.B
			if gone {
				delete(s.heard, h)
			}
			return gone
		})
	}
	f.macMu.Unlock()
	f.recompute()
}

// swapped are the links as they are plugged, and which of them were moved.
func swapped(links []rack.Link, swaps []Swap) (out []rack.Link, moved map[int]bool) {
	out, moved = slices.Clone(links), map[int]bool{}
	at := func(p rack.Port) int { return slices.IndexFunc(links, func(l rack.Link) bool { return l.A == p }) }
	for _, s := range swaps {
		if a, b := at(s.A), at(s.B); a >= 0 && b >= 0 {
			out[a].B, out[b].B = links[b].B, links[a].B
			moved[a], moved[b] = true, true
		}
	}
	return out, moved
}
