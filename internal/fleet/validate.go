package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// maxName bounds the name of a fleet.
const maxName = 63 // characters

// NameFix says what the name of a fleet looks like.
const NameFix = "1 to 63 letters, digits, hyphens, underscores and dots, such as row-4"

// ValidName reports whether a fleet may be called so: its name is shown to everybody.
func ValidName(s string) bool {
	for i := range len(s) {
		if b := s[i]; (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '-' && b != '_' && b != '.' {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// Problem is what is wrong with racks that are to be one fleet.
type Problem struct {
	Rack string // whose file is to be mended
	What string // what is wrong, and what to write instead
}

// Validate finds what is wrong with racks, each of which is valid by itself, that
// are to be one fleet.
func Validate(racks []*rack.Rack) []Problem {
	var out []Problem
	by, numbers := map[string]*rack.Rack{}, map[int]string{}
	for _, r := range racks {
		if by[r.Name] != nil {
			out = append(out, Problem{r.Name, fmt.Sprintf("rack %s is in the fleet twice: name each rack once", r.Name)})
			continue
		}
		by[r.Name] = r
		if other := numbers[r.Number]; other != "" {
			out = append(out, Problem{r.Name, fmt.Sprintf("number %d is that of rack %s: number every rack differently", r.Number, other)})
		}
		numbers[r.Number] = r.Name
	}
	taken := map[string]string{} // end of a link, by whose file
	joined := map[string][]string{}
	for _, r := range racks {
		for _, l := range r.Links {
			if !strings.HasPrefix(l.B.Device, "rack:") {
				continue
			}
			b, ok := outside(l.B)
			if !ok {
				continue // the rack file's own check says so
			}
			out = append(out, checkEnd(by, r, l, b)...)
			if other := taken[b.String()]; other != "" {
				out = append(out, Problem{r.Name, fmt.Sprintf("%s is cabled twice: to %s, and to %s/%s", b, other, r.Name, l.A)})
			}
			taken[b.String()] = r.Name + "/" + l.A.String()
			joined[r.Name], joined[b.rack] = append(joined[r.Name], b.rack), append(joined[b.rack], r.Name)
		}
	}
	return append(out, addresses(racks, joined)...)
}

// checkEnd holds the far end of a link against the rack that it is in.
func checkEnd(by map[string]*rack.Rack, r *rack.Rack, l rack.Link, b end) []Problem {
	far := by[b.rack]
	if far == nil {
		return []Problem{{r.Name, fmt.Sprintf("%s leads to rack %s, which is not in the fleet: add it, or take the link out", l.A, b.rack)}}
	}
	d, ok := far.Device(b.port.Device)
	switch {
	case !ok:
		return []Problem{{r.Name, fmt.Sprintf("%s leads to %s, but rack %s has no %s", l.A, b, b.rack, b.port.Device)}}
	case d.Role != rack.ToRSwitch && d.Role != rack.InterRackSwitch:
		return []Problem{{r.Name, fmt.Sprintf("%s leads to %s, which is a %s: racks are joined by ToR and inter-rack switches", l.A, b, d.Role)}}
	}
	for i := range far.Devices {
		if x := &far.Devices[i]; x.Management == b.port || slices.Contains(x.Data, b.port) {
			return []Problem{{r.Name, fmt.Sprintf("%s leads to %s, to which rack %s has cabled %s", l.A, b, b.rack, x.Name)}}
		}
	}
	for _, own := range far.Links {
		if own.A != b.port && own.B != b.port {
			continue
		}
		if back, ok := outside(own.B); ok && back == (end{r.Name, l.A}) {
			continue // both files name the same cable
		}
		return []Problem{{r.Name, fmt.Sprintf("%s leads to %s, which rack %s uses for another cable", l.A, b, b.rack)}}
	}
	return nil
}

// addresses finds addresses that two racks have on one segment: the data networks
// of racks that are joined, directly or over others, become one.
func addresses(racks []*rack.Rack, joined map[string][]string) []Problem {
	segment := map[string]int{}
	for i, r := range racks {
		if segment[r.Name] == 0 {
			mark(segment, joined, r.Name, i+1)
		}
	}
	type key struct {
		segment int
		address netip.Addr
	}
	owner := map[key]string{}
	var out []Problem
	for _, r := range racks {
		for i := range r.Devices {
			d := &r.Devices[i]
			if d.Role != rack.Server || !d.Address.IsValid() {
				continue
			}
			k := key{segment[r.Name], d.Address}
			if other := owner[k]; other != "" && !strings.HasPrefix(other, r.Name+"/") {
				out = append(out, Problem{r.Name, fmt.Sprintf("%s has the address %s of %s: once the racks are joined they share one data network; give one of them another", d.Name, d.Address, other)})
			}
			owner[k] = r.Name + "/" + d.Name
		}
	}
	for i, r := range racks {
		for j, other := range racks {
			if i != j && segment[r.Name] == segment[other.Name] {
				out = append(out, pools(r, other, j > i)...)
			}
		}
	}
	return out
}

// pools holds the data pool of a rack against the addresses and, once for the two,
// against the pool of another that it is joined with.
func pools(r, other *rack.Rack, once bool) []Problem {
	p := r.DataPool
	if once && p.Overlaps(other.DataPool) {
		return []Problem{{other.Name, fmt.Sprintf("its data pool %s overlaps pool %s of rack %s: once the racks are joined they share one data network; give one of them another", other.DataPool, p, r.Name)}}
	}
	for i := range other.Devices {
		if d := &other.Devices[i]; d.Role == rack.Server && p.Contains(d.Address) {
			return []Problem{{r.Name, fmt.Sprintf("its data pool %s holds the address %s of %s/%s: once the racks are joined they share one data network; give the pool other addresses", p, d.Address, other.Name, d.Name)}}
		}
	}
	return nil
}

func mark(segment map[string]int, joined map[string][]string, name string, n int) {
	segment[name] = n
	for _, other := range slices.Compact(slices.Sorted(slices.Values(joined[name]))) {
		if segment[other] == 0 {
			mark(segment, joined, other, n)
		}
	}
}
