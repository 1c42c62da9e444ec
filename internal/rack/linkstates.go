package rack

import (
	"maps"
	"slices"
)

// linkStates are the states of all links of a rack: a byte for each cable, and
// what was said of ports that the rack file does not name.
type linkStates struct {
	cabling *Cabling
	cabled  []uint8 // indices of states, by cable
	others  map[Port]LinkState
}

// states of a link; the first is that of a cable of which nothing was said.
var states = [...]LinkState{LinkIsClosed, LinkIsReady, LinkIsOpen}

func newLinkStates(c *Cabling) linkStates {
	return linkStates{cabling: c, cabled: make([]uint8, len(c.cables)), others: map[Port]LinkState{}}
}

// of is the state of a link; empty: the rack file does not name it.
func (l *linkStates) of(p Port) LinkState {
	if i := l.cabling.index(p); i >= 0 {
		return states[l.cabled[i]]
	}
	return l.others[p]
}

// set changes the state of a link to one of states.
func (l *linkStates) set(p Port, s LinkState) {
	if i := l.cabling.index(p); i >= 0 {
		l.cabled[i] = uint8(slices.Index(states[:], s))
		return
	}
	l.others[p] = s
}

// said are the links of which something was said, sorted: those that are not
// closed, and those that the rack file does not name.
func (l *linkStates) said() (out []SavedLink) {
	for _, i := range l.cabling.byNear {
		if s := states[l.cabled[i]]; s != LinkIsClosed {
			out = append(out, SavedLink{l.cabling.cables[i].Near, s})
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(l.others), comparePorts) {
		out = append(out, SavedLink{p, l.others[p]})
	}
	return out
}
