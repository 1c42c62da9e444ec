package bmcscan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bougou/go-ipmi/pkg/protocol"
)

// network is a connection in memory: what is sent is answered by those that are there.
type network struct {
	answer func(to netip.Addr, tag byte) [][]byte
	fail   func(to netip.Addr) error

	mu    sync.Mutex
	asked []netip.Addr
	times []time.Time
	in    chan datagram
	late  chan struct{}
}

type datagram struct {
	b    []byte
	from net.Addr
}

func newNetwork() *network {
	return &network{in: make(chan datagram, 10000), late: make(chan struct{})}
}

func (n *network) WriteTo(b []byte, to net.Addr) (int, error) {
	at := to.(*net.UDPAddr).AddrPort()
	n.mu.Lock()
	n.asked, n.times = append(n.asked, at.Addr()), append(n.times, time.Now())
	n.mu.Unlock()
	if n.fail != nil {
		if err := n.fail(at.Addr()); err != nil {
			return 0, err
		}
	}
	if n.answer != nil {
		for _, r := range n.answer(at.Addr(), b[9]) {
			n.in <- datagram{r, to}
		}
	}
	return len(b), nil
}

func (n *network) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-n.in:
		return copy(b, d.b), d.from, nil
	case <-n.late:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (n *network) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		close(n.late)
	}
	return nil
}
func (*network) Close() error                     { return nil }
func (*network) LocalAddr() net.Addr              { return nil }
func (*network) SetDeadline(time.Time) error      { return nil }
func (*network) SetWriteDeadline(time.Time) error { return nil }

func pongs(who ...string) func(netip.Addr, byte) [][]byte {
	return func(a netip.Addr, tag byte) [][]byte {
		if !slices.Contains(who, a.String()) {
			return nil
		}
		return [][]byte{protocol.BuildASFPresencePong(tag)}
	}
}

func run(t *testing.T, n *network, o Options) (found []string, err error) {
	t.Helper()
	o.Conn = n
	err = Scan(t.Context(), o, func(a Answer) { found = append(found, fmt.Sprintf("%s %v %d", a.Address, a.IPMI, a.Maker)) })
	return found, err
}

func TestScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = pongs("10.0.0.1", "10.0.0.9", "10.0.0.254")
		began := time.Now()
		found, err := run(t, n, Options{Range: netip.MustParsePrefix("10.0.0.0/24"), Skip: func(a netip.Addr) bool { return a.String() == "10.0.0.1" }})
		if err != nil || fmt.Sprint(found) != "[10.0.0.9 true 0 10.0.0.254 true 0]" {
			t.Errorf("%q %v", found, err)
		}
		// 253 addresses, twice each, at 50 a second, and the wait for the last ones.
		if len(n.asked) != 506 || n.asked[0].String() != "10.0.0.2" || n.asked[252].String() != "10.0.0.254" {
			t.Errorf("%d questions", len(n.asked))
		}
		if took := time.Since(began); took < 12*time.Second || took > 12500*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		for i := range n.times[1:] {
			if between := n.times[i+1].Sub(n.times[i]); between < time.Second/DefaultRate {
				t.Fatalf("question %d came after %s", i+2, between)
			}
		}
	})
}

func TestScanBelievesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.answer = func(a netip.Addr, tag byte) [][]byte {
			good := protocol.BuildASFPresencePong(tag)
			bad := func(at int, to byte) []byte { b := slices.Clone(good); b[at] = to; return b }
			switch a.String() {
			case "10.0.0.1":
				return [][]byte{bad(0, 5), bad(3, 7), bad(4, 1), bad(8, 0x80), bad(9, tag+1), bad(11, 15), good[:27], append(slices.Clone(good), make([]byte, maxPong)...), nil}
			case "10.0.0.2": // somebody else's port, and an address that was not asked
				n.in <- datagram{good, &net.UDPAddr{IP: net.IP{10, 0, 0, 2}, Port: 1}}
				n.in <- datagram{good, &net.UDPAddr{IP: net.IP{10, 0, 9, 9}, Port: Port}}
			case "10.0.0.3":
				return [][]byte{good, good, bad(20, 0)}
			case "10.0.0.4":
				return [][]byte{bad(20, 0)} // ASF without IPMI
			case "10.0.0.5":
				return [][]byte{bad(15, 0xa2)}
			}
			return nil
		}
		found, err := run(t, n, Options{Range: netip.MustParsePrefix("10.0.0.0/29")})
		if err != nil || fmt.Sprint(found) != "[10.0.0.3 true 0 10.0.0.4 false 0 10.0.0.5 true 4514]" {
			t.Errorf("%q %v", found, err)
		}
	})
}

func TestScanEnds(t *testing.T) {
	down := errors.New("the network is unreachable")
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail = func(netip.Addr) error { return down }
		if _, err := run(t, n, Options{Range: netip.MustParsePrefix("10.0.0.0/24")}); !errors.Is(err, down) || len(n.asked) != maxReadErrors {
			t.Errorf("%v after %d questions", err, len(n.asked))
		}
		n = newNetwork()
		n.fail = func(a netip.Addr) error {
			if a.As4()[3]%2 == 0 {
				return down
			}
			return nil
		}
		if _, err := run(t, n, Options{Range: netip.MustParsePrefix("10.0.0.0/24")}); err != nil || len(n.asked) != 508 {
			t.Errorf("%v after %d questions", err, len(n.asked))
		}
		n = newNetwork()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := Scan(ctx, Options{Conn: n, Range: netip.MustParsePrefix("10.0.0.0/24")}, func(Answer) {}); err != nil || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		n = newNetwork()
		_, err := run(t, n, Options{Range: netip.MustParsePrefix("10.0.0.0/8"), Rate: 1000})
		if large := new(TooLargeError); !errors.As(err, &large) || len(n.asked) != 2*MaxHosts || large.Last != n.asked[MaxHosts-1] {
			t.Errorf("%v after %d questions", err, len(n.asked))
		}
		if err := Scan(t.Context(), Options{Conn: newNetwork(), Range: netip.MustParsePrefix("fe80::/64")}, func(Answer) {}); err == nil {
			t.Error("IPv6")
		}
	})
}

func TestHostsOf(t *testing.T) {
	for _, c := range []struct {
		p           string
		n           int
		first, last string
	}{
		{"10.0.0.77/24", 254, "10.0.0.1", "10.0.0.254"}, {"10.0.0.0/30", 2, "10.0.0.1", "10.0.0.2"}, {"10.0.0.0/31", 2, "10.0.0.0", "10.0.0.1"}, {"10.0.0.5/32", 1, "10.0.0.5", "10.0.0.5"},
		{"10.0.0.0/20", 4094, "10.0.0.1", "10.0.15.254"}, {"10.0.0.0/16", 4096, "10.0.0.1", "10.0.16.0"}, {"255.255.255.0/24", 254, "255.255.255.1", "255.255.255.254"},
	} {
		hosts, _ := hostsOf(netip.MustParsePrefix(c.p))
		if len(hosts) != c.n || hosts[0].String() != c.first || hosts[len(hosts)-1].String() != c.last {
			t.Errorf("%s: %d from %s to %s", c.p, len(hosts), hosts[0], hosts[len(hosts)-1])
		}
	}
}

func FuzzPong(f *testing.F) {
	f.Add(protocol.BuildASFPresencePong(7), byte(7))
	f.Fuzz(func(t *testing.T, b []byte, tag byte) {
		if _, _, ok := readPong(b, tag); ok && (len(b) < 28 || b[9] != tag) {
			t.Errorf("%x", b)
		}
	})
}
