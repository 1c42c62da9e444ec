package sim

import (
	"context"
	"fmt"
	"time"
)

// Pauses before a rack that nobody serves is looked for again, doubling; and how
// long it may take to answer.
const (
	peerFirst = 250 * time.Millisecond
	peerMost  = 2 * time.Second
)

// seek keeps up a conversation with the rack that serves at a socket, for as
// long as this one runs. The other one may come later, go and come back: that is
// no trouble of the simulator.
func (s *Sim) seek(rack, path string) {
	for wait := peerFirst; s.ctx.Err() == nil; wait = min(2*wait, peerMost) {
		if s.meet(rack, path) {
			wait = peerFirst
		}
		if pause(s.ctx, wait) != nil {
			return
		}
	}
}

// meet holds one conversation. It reports whether there was one.
func (s *Sim) meet(rack, path string) bool {
	ctx, cancel := context.WithTimeout(s.ctx, requestLimit)
	defer cancel()
	f, _, err := (&Remote{path: path}).ask(ctx, request{Op: opPeer, From: s.rack.Name, To: rack})
	if err != nil {
		return false
	}
	defer f.Close()
	s.lldp.converse(s.ctx, f, rack, s.lldpEvery()) // how it ended does not matter: it is sought again
	return true
}

func (s *Sim) lldpEvery() time.Duration { return s.tempo.scaled(lldpEvery, lldpFloor) }

// peer answers a rack that began a conversation.
func (v *gateway) peer(ctx context.Context, f *framed, q request) {
	s := v.sim
	switch {
	case q.To != s.rack.Name:
		f.say(answer{Error: fmt.Sprintf("this is rack %s, not rack %.80q: name the socket of that one", s.rack.Name, q.To)})
	case !named(q.From) || q.From == s.rack.Name:
		f.say(answer{Error: fmt.Sprintf("%.80q is not another rack", q.From)})
	default:
		if f.say(answer{}) == nil {
			s.lldp.converse(ctx, f, q.From, s.lldpEvery())
		}
	}
}
