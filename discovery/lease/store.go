package lease

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Defaults of a Store.
const (
	// DefaultOfferHold is how long an offered address is kept for whom it was
	// offered to. UEFI firmware asks for 60 s before it gives up (protocol facts §7).
	DefaultOfferHold = 2 * time.Minute
	// DefaultDeclineHold is how long a declined address is not given out. The other
	// machine must be found by a person; a pool of a rack is too small to lose the
	// address for the day that Kea takes.
	DefaultDeclineHold = time.Hour
	// DefaultMaxLeases bounds the addresses that are remembered.
	DefaultMaxLeases = 1 << 17
	// memory is how long an ended lease is remembered at least, so that its holder
	// finds its address again; ends longer ago are forgotten when the store is opened.
	memory = 30 * 24 * time.Hour
)

// Options of a Store.
type Options struct {
	OfferHold   time.Duration // zero: DefaultOfferHold
	DeclineHold time.Duration // zero: DefaultDeclineHold
	MaxLeases   int           // zero: DefaultMaxLeases

	// Sync makes what was written to the lease file durable. Nil: fdatasync. Tests give
	// a disk that is slow or fails.
	Sync func(*os.File) error
}

// Errors of a Store.
var (
	// ErrExhausted: every address of the pool is leased, offered or withheld.
	ErrExhausted = errors.New("the pool has no address left")
	// ErrTaken: the address belongs to somebody else, or is withheld.
	ErrTaken = errors.New("the address is not this holder's")
	// ErrFull: as many addresses are remembered as MaxLeases allows.
	ErrFull = errors.New("the lease store is full")
)

// Store is the leases of one agent.
type Store struct {
	o    Options
	disk *disk // nil: nothing is durable

	writing sync.Mutex // of who uses the disk; it is locked before mu

	mu       sync.Mutex
	byAddr   map[uint32]*entry
	byHolder map[Holder]*entry // the newest lease of each holder
	bySlot   map[string][]*entry
	offers   map[Holder]*offer
	offered  map[uint32]*offer
	lapsing  []*offer // by the end of their hold, soonest first; the hold is the same for all
	gone     int      // of lapsing
	pools    map[Pool]*pool
	never    map[uint32]bool // addresses that no pool gives out

	dirty   []*entry // changed since the last Commit began
	leaving []*entry // what the Commit that is going on writes
	undo    []change // since the last Commit that went well, in the order they were made
}

// entry is a lease in memory.
type entry struct {
	Lease
	dirty bool
}

// offer is an address that is kept for a client until its hold ends.
type offer struct {
	holder Holder
	number uint32
	until  time.Time
	gone   bool // withdrawn
	pool   *pool
}

// change is what an entry was before.
type change struct {
	e      *entry
	before Lease     // zero: it was not there
	after  Holder    // its holder now
	newest [2]*entry // of the holder before and of the one after, as it was
}

// Memory makes a store that forgets everything when the process ends. It is for
// simulations and tests: after a restart a pool may give one address to two
// machines.
func Memory(o Options) *Store {
	if o.OfferHold <= 0 {
		o.OfferHold = DefaultOfferHold
	}
	if o.DeclineHold <= 0 {
		o.DeclineHold = DefaultDeclineHold
	}
	if o.MaxLeases <= 0 {
		o.MaxLeases = DefaultMaxLeases
	}
	return &Store{o: o, byAddr: map[uint32]*entry{}, byHolder: map[Holder]*entry{}, bySlot: map[string][]*entry{},
		offers: map[Holder]*offer{}, offered: map[uint32]*offer{}, pools: map[Pool]*pool{}, never: map[uint32]bool{}}
}

// Except keeps addresses out of every pool: the agent's own, a router's.
func (s *Store) Except(as ...netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range as {
		if a.Is4() {
			s.never[number(a)] = true
		}
	}
}

// Offer finds the address that a pool has for a holder, and keeps it for the
// offer's hold (RFC 2131 section 4.3.1). asked is option 50; invalid: none. The
// same holder gets the same address again. It returns ErrExhausted or ErrFull.
func (s *Store) Offer(h Holder, p Pool, asked netip.Addr, now time.Time) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lapse(now)
	if o := s.offers[h]; o != nil && p.Contains(address(o.number)) {
		s.prolong(o, now)
		return address(o.number), nil
	}
	pl := s.pool(p)
	if pl == nil {
		return netip.Addr{}, ErrExhausted
	}
	if e := s.byHolder[h]; e != nil && e.State != Declined && p.Contains(e.Address) && s.free(number(e.Address), h) {
		s.keep(h, number(e.Address), pl, now)
		return e.Address, nil
	}
	if p.Contains(asked) && s.byAddr[number(asked)] == nil && s.free(number(asked), h) {
		s.keep(h, number(asked), pl, now)
		return asked, nil
	}
	if len(s.byAddr)+len(s.offers) >= s.o.MaxLeases {
		return netip.Addr{}, ErrFull
	}
	n, ok := s.pick(pl, now)
	if !ok {
		return netip.Addr{}, ErrExhausted
	}
	s.keep(h, n, pl, now)
	return address(n), nil
}

// Of returns the address that a holder has in a pool: its lease, bound or
// remembered, or what it was offered. known reports whether there is any record of
// it; the address is invalid when it was given to somebody else since.
func (s *Store) Of(h Holder, p Pool, now time.Time) (a netip.Addr, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lapse(now)
	if o := s.offers[h]; o != nil && p.Contains(address(o.number)) {
		return address(o.number), true
	}
	e := s.byHolder[h]
	switch {
	case e == nil || e.State == Declined || !p.Contains(e.Address):
		return netip.Addr{}, false
	case !s.free(number(e.Address), h):
		return netip.Addr{}, true
	}
	return e.Address, true
}

// At returns the lease of an address, whatever became of it.
func (s *Store) At(a netip.Addr) (Lease, bool) {
	if !a.Is4() {
		return Lease{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byAddr[number(a)]; e != nil {
		return e.Lease, true
	}
	return Lease{}, false
}

// All calls f for every lease, in no order, under the store's lock: f must be quick.
func (s *Store) All(f func(Lease)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byAddr {
		f(e.Lease)
	}
}

// Bind gives an address to its holder until Ends. State is set to Bound. What the
// holder had elsewhere is taken back; so is what the same hardware had as a
// stranger, and, once a device's own system asks, what its installers had. It
// returns ErrTaken for an address of a pool that another holds, was offered or
// declined, and ErrFull. A pre-determined address is its holder's, whoever had it.
func (s *Store) Bind(l Lease, now time.Time) error {
	if !l.Address.Is4() {
		return ErrTaken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := number(l.Address)
	e := s.byAddr[n]
	if l.Pool && !s.free(n, l.Holder) {
		if !s.expired(e, l.Holder, now) {
			return ErrTaken
		}
	}
	if e == nil && len(s.byAddr) >= s.o.MaxLeases {
		return ErrFull
	}
	l.State = Bound
	l.Ends = l.Ends.UTC().Truncate(time.Second)
	if old := s.byHolder[l.Holder]; old != nil && old != e {
		s.takeBack(old, now)
	}
	if l.Holder.Slot != "" {
		if old := s.byHolder[Holder{Hardware: l.Hardware}]; old != nil && old != e {
			s.takeBack(old, now)
		}
		if system(l.Stage) {
			for _, old := range s.bySlot[l.Holder.Slot] {
				if old != e && old.Pool && installer(old.Stage) {
					s.takeBack(old, now)
				}
			}
		}
	}
	if o := s.offered[n]; o != nil && o.holder != l.Holder {
		s.drop(o) // it is pre-determined after all
	}
	s.set(e, l)
	return nil
}

// expired reports whether an address that another one has may be bound all the
// same: its lease ended and it was offered to nobody else.
func (s *Store) expired(e *entry, h Holder, now time.Time) bool {
	if e == nil || e.Ends.After(now) || s.never[number(e.Address)] {
		return false
	}
	o := s.offered[number(e.Address)]
	return o != nil && o.holder == h
}

// takeBack ends a lease before its time.
func (s *Store) takeBack(e *entry, now time.Time) {
	if e.State != Bound {
		return
	}
	l := e.Lease
	l.State = Released
	if end := now.UTC().Truncate(time.Second); end.Before(l.Ends) {
		l.Ends = end
	}
	s.set(e, l)
}

// Withdraw gives up what a holder was offered: it chose another server (RFC 2131
// section 4.3.2).
func (s *Store) Withdraw(h Holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.offers[h]; o != nil {
		s.drop(o)
	}
}

// Release ends the lease of an address when it is the holder's, and remembers
// whose it was (RFC 2131 section 4.3.4). It reports whether there was one.
func (s *Store) Release(h Holder, a netip.Addr, now time.Time) bool {
	if !a.Is4() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byAddr[number(a)]
	if e == nil || e.Holder != h || e.State != Bound {
		return false
	}
	s.takeBack(e, now)
	return true
}

// Decline withholds an address that its holder found in use (RFC 2131 section
// 4.3.3). It reports whether it was leased or offered to that holder; otherwise
// nothing happens, or anybody could use a pool up. A pre-determined address is
// remembered as declined, for the engine to tell of: who owns it never changes.
func (s *Store) Decline(l Lease, now time.Time) bool {
	if !l.Address.Is4() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := number(l.Address)
	e, o := s.byAddr[n], s.offered[n]
	ours := !l.Pool || (e != nil && e.Holder == l.Holder && e.State == Bound) || (o != nil && o.holder == l.Holder)
	if !ours || (e == nil && len(s.byAddr) >= s.o.MaxLeases) {
		return false
	}
	if o != nil {
		s.drop(o)
	}
	l.State, l.Ends = Declined, now.Add(s.o.DeclineHold).UTC().Truncate(time.Second)
	s.set(e, l)
	return true
}

// set changes a lease, or makes one when e is nil, and remembers how it was.
func (s *Store) set(e *entry, l Lease) {
	c := change{e: e, after: l.Holder}
	c.newest[1] = s.byHolder[l.Holder]
	if e == nil {
		e = &entry{}
		c.e = e
		s.byAddr[number(l.Address)] = e
	} else {
		c.before, c.newest[0] = e.Lease, s.byHolder[e.Holder]
		s.disown(e)
	}
	e.Lease = l
	s.own(e)
	if !e.dirty {
		e.dirty = true
		s.dirty = append(s.dirty, e)
	}
	s.undo = append(s.undo, c)
	s.ends(e)
}

func (s *Store) newest(h Holder, e *entry) {
	if e == nil {
		delete(s.byHolder, h)
		return
	}
	s.byHolder[h] = e
}

// own and disown keep the indexes by holder and by slot.
func (s *Store) own(e *entry) {
	s.byHolder[e.Holder] = e
	if slot := e.Holder.Slot; slot != "" {
		s.bySlot[slot] = append(s.bySlot[slot], e)
	}
}

func (s *Store) disown(e *entry) {
	if s.byHolder[e.Holder] == e {
		delete(s.byHolder, e.Holder)
	}
	slot := e.Holder.Slot
	if slot == "" {
		return
	}
	var rest []*entry
	for _, x := range s.bySlot[slot] {
		if x != e {
			rest = append(rest, x)
		}
	}
	if s.bySlot[slot] = rest; len(rest) == 0 {
		delete(s.bySlot, slot)
	}
}

// ends files when an address of a pool can be given to another.
func (s *Store) ends(e *entry) {
	if !e.Pool {
		return
	}
	for _, p := range s.pools {
		if p.Contains(e.Address) {
			s.file(p, e)
		}
	}
}
