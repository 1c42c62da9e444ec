package discovery

import "testing"

// TestCompany: with a server of another rack on the segment its clients are left to it:
// none is refused, none gets an address of a pool for strangers, and what a client of ours
// asks is answered as ever.
func TestCompany(t *testing.T) {
	for _, c := range []struct {
		name         string
		known, heard bool
		unknown      Outcome // asks for an address to go on with
		offered      Outcome // asks for one, where strangers get addresses
		renews       Outcome // has one of ours
	}{
		{"alone", false, false, RefusedUnknown, Offered, Acknowledged},
		{"siblings that may be on the segment", true, false, IgnoredUnknown, Offered, Acknowledged},
		{"a sibling that was heard", true, true, IgnoredUnknown, IgnoredUnknown, IgnoredUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			var known, heard bool
			company := func() (bool, bool) { return known, heard }
			s := testServer(t, Options{Authoritative: true, Company: company})
			pool := poolServer(t, 9, func(o *Options) { o.Authoritative, o.Company = true, company })
			_, offer := pool.answer(t, discover().from(client(1)))
			pool.answer(t, asks().from(client(1)).addr(50, offer.YourIPAddr.String()).addr(54, ours))
			known, heard = c.known, c.heard
			r, _ := handled(t, s, asks().from("52:54:00:09:09:09").addr(50, mine))
			if r.Outcome != c.unknown {
				t.Errorf("INIT-REBOOT of a stranger: %s, want %s", r.Outcome, c.unknown)
			}
			if r, _ = handled(t, s, asks().from("52:54:00:09:09:09").is(mine)); r.Outcome != c.unknown {
				t.Errorf("REBINDING of a stranger: %s, want %s", r.Outcome, c.unknown)
			}
			if r, _ := pool.answer(t, discover().from(client(2))); r.Outcome != c.offered {
				t.Errorf("DISCOVER of a stranger: %s, want %s", r.Outcome, c.offered)
			}
			if r, _ := pool.answer(t, asks().from(client(1)).addr(50, offer.YourIPAddr.String())); r.Outcome != c.renews {
				t.Errorf("REQUEST of a stranger with a lease of ours: %s, want %s", r.Outcome, c.renews)
			}
			if r, d := handled(t, s, discover()); r.Outcome != Offered || d.YourIPAddr.String() != mine {
				t.Errorf("DISCOVER of ours: %s", r.Outcome)
			}
			if r, _ := handled(t, s, asks().addr(50, "10.9.9.9")); r.Outcome != Refused {
				t.Errorf("a wrong address of ours: %s", r.Outcome)
			}
		})
	}
}
