package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Swap is two cables to other racks that were plugged the wrong way round at
// their far ends.
type Swap struct{ A, B rack.Port } // their near ends

// String is what ParseSwap reads.
func (s Swap) String() string { return s.A.String() + "=" + s.B.String() }

const swapSyntax = "write PORT=PORT with two ports that the rack file cables to other racks, such as inter-rack-1:7=inter-rack-1:8"

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
// to other racks, and no port is swapped twice. All problems are returned, joined.
func CheckSwaps(swaps []Swap, r *rack.Rack) error {
	var errs []error
	seen := map[rack.Port]bool{}
	for _, s := range swaps {
		for _, p := range []rack.Port{s.A, s.B} {
			switch {
			case !slices.ContainsFunc(r.Links, func(l rack.Link) bool { _, _, out := abroad(l.B); return out && l.A == p }):
				errs = append(errs, fmt.Errorf("swapped links %s: no link of rack %s leads from %s to another rack: %s", s, r.Name, p, swapSyntax))
			case seen[p]:
				errs = append(errs, fmt.Errorf("swapped links %s: %s is swapped already: name each port once", s, p))
			}
			seen[p] = true
		}
	}
	return errors.Join(errs...)
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
