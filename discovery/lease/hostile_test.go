package lease

import "testing"

// A client that takes what it is offered and gives it back, again and again, makes
// nothing grow.
func TestOffersThatAreGivenBackTakeNoRoom(t *testing.T) {
	s, p := Memory(Options{}), small(4)
	offered(t, s, stranger(9), p, none, t0) // keeps its own
	for range 100_000 {
		offered(t, s, stranger(1), p, none, t0)
		s.Withdraw(stranger(1))
	}
	if n := len(s.lapsing); n > 100 {
		t.Errorf("%d offers that are gone are kept", n)
	}
	s.Withdraw(stranger(9))
	a := offered(t, s, stranger(2), p, none, t0)
	if got := offered(t, s, stranger(2), p, none, t0.Add(DefaultOfferHold-1)); got != a {
		t.Errorf("%s, then %s", a, got)
	}
	offered(t, s, stranger(3), p, none, t0.Add(4*DefaultOfferHold))
	if len(s.offers) != 1 || len(s.offered) != 1 || len(s.lapsing) > 2 {
		t.Errorf("%d offers, %d addresses, %d to lapse", len(s.offers), len(s.offered), len(s.lapsing))
	}
}
