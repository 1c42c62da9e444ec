package adjacency

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/rackreach/rackreach/internal/printable"
)

// Format is what a switch answers in.
type Format string

// The formats.
const (
	LLDPCtl   Format = "lldpctl-json"
	Bridge    Format = "bridge-json"
	SONiCLLDP Format = "sonic-lldp"
	SONiCMAC  Format = "sonic-mac"
	EOSLLDP   Format = "eos-lldp-json"
	EOSMAC    Format = "eos-mac-json"
)

// Bounds of what a switch says.
const (
	MaxText       = 1 << 20 // bytes: a MAC table of some thousand rows
	MaxNeighbours = 1024    // rows: no switch has so many ports
	MaxStations   = 4096    // rows that count; a rack has fewer
	maxName       = 64      // bytes of the name of a port or a system
)

// Neighbour is what a switch hears by LLDP at one of its ports. What was not said is
// empty. Names are one printable line each.
type Neighbour struct {
	Port        string // of the switch that was asked, in its own words
	System      string
	Chassis     string // a MAC where it is one
	RemotePort  string // a MAC where it is one
	Description string // of the remote port
}

// Station is a row of a MAC table that was learned, not set.
type Station struct {
	Port string // in the words of the switch
	MAC  string // lower case, colon separated
}

// ErrFormat says that a text is not in the format that it should be in. It is wrapped.
var ErrFormat = errors.New("this is not the output that was expected")

var neighbours = map[Format]func(string) ([]Neighbour, error){LLDPCtl: lldpctl, SONiCLLDP: sonicLLDP, EOSLLDP: eosLLDP}

var stations = map[Format]func(string) ([]Station, error){Bridge: bridge, SONiCMAC: sonicMAC, EOSMAC: eosMAC}

// NeighbourFormats lists the formats of neighbours, sorted.
func NeighbourFormats() []Format { return slices.Sorted(maps.Keys(neighbours)) }

// StationFormats lists the formats of MAC tables, sorted.
func StationFormats() []Format { return slices.Sorted(maps.Keys(stations)) }

// Neighbours reads what a switch prints of its neighbours. It returns ErrFormat, wrapped.
func Neighbours(f Format, text string) ([]Neighbour, error) {
	rows, err := read(neighbours, f, text)
	if err != nil {
		return nil, err
	}
	return Bounded(rows)
}

// Stations reads what a switch prints of its MAC table. It returns ErrFormat, wrapped.
func Stations(f Format, text string) ([]Station, error) {
	rows, err := read(stations, f, text)
	if err != nil {
		return nil, err
	}
	return BoundedStations(rows)
}

// Bounded makes neighbours fit to be shown and leaves out those that say nothing. It
// returns ErrFormat, wrapped, for more of them than a switch can have.
func Bounded(rows []Neighbour) (out []Neighbour, err error) {
	for _, n := range rows {
		n = Neighbour{name(n.Port), name(n.System), macOr(n.Chassis), macOr(n.RemotePort), name(n.Description)}
		if n.Port != "" && (n.System != "" || n.Chassis != "" || n.RemotePort != "") {
			out = append(out, n)
		}
	}
	return few(out, MaxNeighbours)
}

// BoundedStations makes stations fit to be shown and leaves out those that are none. It
// returns ErrFormat, wrapped, for more of them than a rack can have.
func BoundedStations(rows []Station) (out []Station, err error) {
	for _, s := range rows {
		s.Port = name(s.Port)
		if s.MAC = MAC(s.MAC); s.Port != "" && s.MAC != "" {
			out = append(out, s)
		}
	}
	return few(out, MaxStations)
}

func few[Row any](rows []Row, most int) ([]Row, error) {
	if len(rows) > most {
		return nil, fmt.Errorf("%w: it has %d rows, more than %d", ErrFormat, len(rows), most)
	}
	return rows, nil
}

func read[Row any](by map[Format]func(string) ([]Row, error), f Format, text string) ([]Row, error) {
	parse, ok := by[f]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: nothing reads the format %.40q here", ErrFormat, f)
	case len(text) > MaxText:
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrFormat, MaxText)
	}
	rows, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is no %s: %s", ErrFormat, f, printable.Line(err.Error(), 200))
	}
	return rows, nil
}

// name is a name that a stranger gives, fit to be shown.
func name(s string) string { return printable.Line(s, maxName) }

// MAC is the MAC of one station in the form of the rack file, whatever form it came in;
// "": it is none, or one of a group.
func MAC(s string) string {
	if len(s) > 17 {
		return ""
	}
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 || m[0]&1 == 1 || [6]byte(m) == [6]byte{} {
		return ""
	}
	return m.String()
}

func macOr(s string) string {
	if m := MAC(s); m != "" {
		return m
	}
	return name(s)
}
