package discovery

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/discovery/lease"
)

// story is a server with a small pool, and what its clients were told: it shares no
// code with the store.
type story struct {
	t        *rapid.T
	s        *Server
	path     string
	now      time.Time
	offers   map[int]netip.Addr       // what a client was offered last
	has      map[netip.Addr]int       // who was acknowledged an address
	until    map[netip.Addr]time.Time // and how long
	withheld map[netip.Addr]time.Time
}

func (x *story) open() {
	store, err := lease.Open(x.path, lease.Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	x.s, err = New(Options{Wire: newBatches(), Leases: store, Table: strangers("10.0.1.1", "10.0.1.3"), ServerID: netip.MustParseAddr(ours)})
	if err != nil {
		x.t.Fatal(err)
	}
}

// live is who has an address at this moment, 0: nobody.
func (x *story) live(a netip.Addr) int {
	if x.until[a].After(x.now) {
		return x.has[a]
	}
	return 0
}

// send answers a packet of a client, durably, and checks what must hold of any answer.
func (x *story) send(n int, p *packet) (Result, netip.Addr) {
	r := x.s.handle(p.from(client(n)).bytes(), sender, x.now, nil)
	if err := x.s.leases.Commit(); err != nil {
		x.t.Fatal(err)
	}
	if r.Reply.Payload == nil {
		return r, netip.Addr{}
	}
	d, err := dhcpv4.FromBytes(r.Reply.Payload)
	if err != nil {
		x.t.Fatal(err)
	}
	a, _ := netip.AddrFromSlice(d.YourIPAddr.To4())
	if d.MessageType() == nak {
		return r, a
	}
	if other := x.live(a); other != 0 && other != n {
		x.t.Fatalf("%s for client %d: %s is client %d's", d.MessageType(), n, a, other)
	}
	if x.withheld[a].After(x.now) {
		x.t.Fatalf("%s for client %d: %s is withheld", d.MessageType(), n, a)
	}
	if d.MessageType() == ack {
		for b, who := range x.has {
			if who == n && b != a {
				delete(x.has, b) // a client has one address
				delete(x.until, b)
			}
		}
		x.has[a], x.until[a] = n, x.now.Add(time.Hour)
	}
	return r, a
}

// TestNoAddressTwice: whatever clients do, in any order, across restarts, no address
// is acknowledged to two at a time, none that is withheld is given out, a client that
// renews in time keeps its own, and one that asks again gets what it was offered.
func TestNoAddressTwice(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		x := &story{t: t, path: filepath.Join(dir, rapid.StringMatching("[a-z]{12}").Draw(t, "file")), now: testTime,
			offers: map[int]netip.Addr{}, has: map[netip.Addr]int{}, until: map[netip.Addr]time.Time{}, withheld: map[netip.Addr]time.Time{}}
		x.open()
		defer func() { _ = x.s.leases.Close() }()
		who := rapid.IntRange(1, 5)
		address := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{10, 0, 1, byte(rapid.IntRange(1, 4).Draw(t, "last"))})
		})
		t.Repeat(map[string]func(*rapid.T){
			"discover": func(t *rapid.T) {
				n := who.Draw(t, "client")
				p := discover()
				if rapid.Bool().Draw(t, "asks") {
					p.addr(50, address.Draw(t, "address").String())
				}
				if r, a := x.send(n, p); r.Outcome == Offered {
					x.offers[n] = a
				}
			},
			"request what was offered": func(t *rapid.T) {
				n := who.Draw(t, "client")
				if a := x.offers[n]; a.IsValid() {
					x.send(n, selecting(a.String()))
				}
			},
			"get an address": func(t *rapid.T) {
				n := who.Draw(t, "client")
				if r, a := x.send(n, discover()); r.Outcome == Offered {
					if r, _ := x.send(n, selecting(a.String())); r.Outcome != Acknowledged {
						t.Fatalf("client %d may not have the %s that it was offered: %s", n, a, r.Outcome)
					}
				}
			},
			"request anything": func(t *rapid.T) { x.send(who.Draw(t, "client"), selecting(address.Draw(t, "address").String())) },
			"reboot":           func(t *rapid.T) { x.send(who.Draw(t, "client"), asks().addr(50, address.Draw(t, "address").String())) },
			"renew": func(t *rapid.T) {
				n, a := who.Draw(t, "client"), address.Draw(t, "address")
				mine := x.live(a) == n
				if r, _ := x.send(n, asks().is(a.String())); mine && r.Outcome != Acknowledged {
					t.Fatalf("client %d may not renew %s: %s", n, a, r.Outcome)
				}
			},
			"release": func(t *rapid.T) {
				n, a := who.Draw(t, "client"), address.Draw(t, "address")
				x.send(n, message(dhcpv4.MessageTypeRelease).is(a.String()))
				if x.live(a) == n {
					delete(x.until, a)
				}
			},
			"decline": func(t *rapid.T) {
				n := who.Draw(t, "client")
				a := address.Draw(t, "address")
				mine := x.live(a) == n
				x.send(n, message(dhcpv4.MessageTypeDecline).addr(50, a.String()))
				if mine {
					delete(x.until, a)
					x.withheld[a] = x.now.Add(lease.DefaultDeclineHold)
				}
			},
			"choose another server": func(t *rapid.T) { x.send(who.Draw(t, "client"), asks().addr(50, "10.9.9.9").addr(54, theirs)) },
			"wait": func(t *rapid.T) {
				x.now = x.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			},
			"restart": func(t *rapid.T) {
				if err := x.s.leases.Close(); err != nil {
					t.Fatal(err)
				}
				x.offers = map[int]netip.Addr{} // they are in memory only
				x.open()
			},
		})
	})
}
