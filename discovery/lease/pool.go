package lease

import (
	"container/heap"
	"slices"
	"time"
)

// pool is what is known of the addresses of a range.
type pool struct {
	Pool
	next  uint32   // the addresses before it were given out, offered or skipped
	freed []uint32 // offered once and never leased, in the order in which the offers lapsed
	ended ends     // of every lease in the range, when it ended or will; also outdated ones
}

// end is when the lease of an address ends.
type end struct {
	at     time.Time
	number uint32
}

// ends is a heap, soonest first.
type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// maxPools bounds the pools that are remembered; a rack has two.
const maxPools = 64

// pool finds a pool, or begins it; nil for one that is none, or one too many.
func (s *Store) pool(p Pool) *pool {
	if pl := s.pools[p]; pl != nil {
		return pl
	}
	if !p.IsValid() || len(s.pools) >= maxPools {
		return nil
	}
	pl := &pool{Pool: p, next: number(p.First)}
	s.pools[p] = pl
	s.rebuild(pl)
	return pl
}

// file notes when a lease of a pool ends.
func (s *Store) file(p *pool, e *entry) {
	if len(p.ended) > 2*p.Size()+maxPools { // renewals leave outdated ends behind
		s.rebuild(p)
		return
	}
	heap.Push(&p.ended, end{e.Ends, number(e.Address)})
}

// rebuild files the ends of all leases of a pool anew.
func (s *Store) rebuild(p *pool) {
	p.ended = p.ended[:0]
	for n, e := range s.byAddr {
		if e.Pool && p.Contains(e.Address) {
			p.ended = append(p.ended, end{e.Ends, n})
		}
	}
	heap.Init(&p.ended)
}

// free reports whether an address may be given to a holder: no pool leaves it out,
// it is not leased, withheld or offered to another.
func (s *Store) free(n uint32, h Holder) bool {
	if s.never[n] {
		return false
	}
	if o := s.offered[n]; o != nil && o.holder != h {
		return false
	}
	e := s.byAddr[n]
	return e == nil || (e.Holder == h && e.State != Declined)
}

// pick takes an address that nobody had, else the one whose lease ended longest ago.
func (s *Store) pick(p *pool, now time.Time) (uint32, bool) {
	for last := number(p.Last); p.next <= last && p.next >= number(p.First); {
		n := p.next
		p.next++
		if !s.never[n] && s.byAddr[n] == nil && s.offered[n] == nil {
			return n, true
		}
	}
	for len(p.freed) > 0 {
		n := p.freed[0]
		p.freed = p.freed[1:]
		if !s.never[n] && s.byAddr[n] == nil && s.offered[n] == nil {
			return n, true
		}
	}
	for len(p.ended) > 0 {
		x := p.ended[0]
		e := s.byAddr[x.number]
		if e != nil && e.Pool && e.Ends.Equal(x.at) && x.at.After(now) {
			return 0, false // the soonest end is still to come
		}
		heap.Pop(&p.ended)
		if e != nil && e.Pool && e.Ends.Equal(x.at) && !s.never[x.number] && s.offered[x.number] == nil {
			return x.number, true
		}
	}
	return 0, false
}

// keep offers an address to a holder.
func (s *Store) keep(h Holder, n uint32, p *pool, now time.Time) {
	if o := s.offers[h]; o != nil {
		s.drop(o)
	}
	o := &offer{holder: h, number: n, until: now.Add(s.o.OfferHold), pool: p}
	s.offers[h], s.offered[n] = o, o
	s.queue(o)
}

// leastGone is how many offers that are gone may wait for their end, and as many as there
// are others.
const leastGone = 64

// queue lets an offer lapse when its hold is over. Who takes offers and gives them back
// without end fills no memory.
func (s *Store) queue(o *offer) {
	if s.gone > max(leastGone, len(s.lapsing)/2) {
		s.lapsing = slices.DeleteFunc(s.lapsing, func(o *offer) bool { return o.gone })
		s.gone = 0
	}
	s.lapsing = append(s.lapsing, o)
}

// lapse ends the offers whose hold is over.
func (s *Store) lapse(now time.Time) {
	for len(s.lapsing) > 0 && (s.lapsing[0].gone || !s.lapsing[0].until.After(now)) {
		if o := s.lapsing[0]; !o.gone {
			s.drop(o)
		}
		s.lapsing[0] = nil
		s.lapsing = s.lapsing[1:]
		s.gone--
	}
}

// drop ends an offer; the address can be offered again.
func (s *Store) drop(o *offer) {
	s.forget(o)
	switch e := s.byAddr[o.number]; {
	case e == nil && len(o.pool.freed) >= o.pool.Size():
		o.pool.freed, o.pool.next = nil, number(o.pool.First) // look through all of it again
	case e == nil:
		o.pool.freed = append(o.pool.freed, o.number)
	case e.Pool:
		s.file(o.pool, e)
	}
}

func (s *Store) forget(o *offer) {
	s.outdate(o)
	delete(s.offers, o.holder)
	delete(s.offered, o.number)
}

// prolong lets the hold of an offer begin anew, once half of it is over: a client
// that asks without end does not fill the list.
func (s *Store) prolong(o *offer, now time.Time) {
	if o.until.Sub(now) > s.o.OfferHold/2 {
		return
	}
	next := *o
	next.until = now.Add(s.o.OfferHold)
	s.outdate(o)
	s.offers[o.holder], s.offered[o.number] = &next, &next
	s.queue(&next)
}

// outdate says that an offer in lapsing does not count any more.
func (s *Store) outdate(o *offer) {
	o.gone = true
	s.gone++
}
