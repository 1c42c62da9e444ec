package discovery

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// cable is a net.PacketConn in memory: what the test puts in is read, what is
// written is kept.
type cable struct {
	in      chan sent
	out     chan sent
	gone    chan struct{}
	once    sync.Once
	failing bool // every write fails
}

type sent struct {
	data []byte
	addr net.Addr
	err  error
}

func newCable() *cable {
	return &cable{in: make(chan sent, 64), out: make(chan sent, 64), gone: make(chan struct{})}
}

func (w *cable) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case s := <-w.in:
		return copy(b, s.data), s.addr, s.err
	case <-w.gone:
		return 0, nil, net.ErrClosed
	}
}

var errWire = errors.New("the cable is cut")

func (w *cable) WriteTo(b []byte, to net.Addr) (int, error) {
	if w.failing {
		return 0, errWire
	}
	select {
	case w.out <- sent{data: append([]byte(nil), b...), addr: to}:
		return len(b), nil
	case <-w.gone:
		return 0, net.ErrClosed
	}
}

func (w *cable) Close() error {
	w.once.Do(func() { close(w.gone) })
	return nil
}

func (w *cable) LocalAddr() net.Addr              { return &net.UDPAddr{Port: 67} }
func (w *cable) SetDeadline(time.Time) error      { return nil }
func (w *cable) SetReadDeadline(time.Time) error  { return nil }
func (w *cable) SetWriteDeadline(time.Time) error { return nil }

var _ net.PacketConn = (*cable)(nil)

// Two machines behind one port are both taken for the device that is cabled there.
// Each gets its address, since a network card may have been replaced; it is told.
func TestTwoMachinesBehindOnePort(t *testing.T) {
	s := &pooled{testServer(t, Options{}), testTime}
	const first, second = "52:54:00:77:77:77", "52:54:00:77:77:78"
	if r, _ := s.answer(t, relayed(selecting(torAddr)).from(first)); r.Outcome != Acknowledged || r.Seen.Alarm != "" {
		t.Fatalf("%s %q", r.Outcome, r.Seen.Alarm)
	}
	if r, _ := s.answer(t, relayed(discover()).from(first)); r.Seen.Alarm != "" {
		t.Errorf("the same machine: %q", r.Seen.Alarm)
	}
	for _, p := range []*packet{discover(), selecting(torAddr)} {
		r, _ := s.answer(t, relayed(p).from(second))
		if want := "tor-1 gets 192.168.100.2 again through port mgmt-1:45, which 52:54:00:77:77:77 has until"; !strings.HasPrefix(r.Seen.Alarm, want) {
			t.Errorf("%s: %s %q, want %q", r.Message, r.Outcome, r.Seen.Alarm, want)
		}
	}
	s.now = s.now.Add(2 * DefaultLease)
	if r, _ := s.answer(t, relayed(discover()).from(first)); r.Seen.Alarm != "" {
		t.Errorf("its lease is over: %q", r.Seen.Alarm)
	}
}

// A REQUEST that was sent twice proves once where its client is. The second may be read
// when the client has long gone on with the first answer: a switch that has its image
// would be taken for one that is back in its installer.
func TestARepeatedRequestProvesNothing(t *testing.T) {
	s := &pooled{testServer(t, Options{}), testTime}
	onie := func(xid uint32) *packet {
		p := relayed(selecting(torAddr)).str(60, "onie_vendor:x86_64-sim_tor48-r0")
		p.xid = xid
		return p
	}
	for _, x := range []struct {
		name  string
		xid   uint32
		later time.Duration
		want  rack.Evidence
	}{
		{"first", 1, 0, rack.DHCPONIE}, {"sent again", 1, time.Second, rack.NoEvidence}, {"and again", 1, 8 * time.Second, rack.NoEvidence},
		{"another", 2, 0, rack.DHCPONIE}, {"with the number of one long ago", 2, repeatWindow, rack.DHCPONIE},
	} {
		s.now = s.now.Add(x.later)
		r, d := s.answer(t, onie(x.xid))
		if r.Outcome != Acknowledged || d == nil || r.Seen.Observation.Proves != x.want || (r.Seen.Observation.Address != "") != (x.want != rack.NoEvidence) {
			t.Errorf("%s: %s, proves %q at %q", x.name, r.Outcome, r.Seen.Observation.Proves, r.Seen.Observation.Address)
		}
	}
}

// One machine with two network cards asks through both of its ports: no alarm.
func TestTwoPortsOfOneMachine(t *testing.T) {
	table := testTable()
	other := rack.Port{Device: "mgmt-1", Name: "46"}
	table.port[other] = table.port[rack.Port{Device: "mgmt-1", Name: "45"}]
	s := &pooled{testServer(t, Options{Table: func() Table { return table }}), testTime}
	if r, _ := s.answer(t, relayed(selecting(torAddr)).from("52:54:00:77:77:77")); r.Outcome != Acknowledged {
		t.Fatal(r.Outcome)
	}
	if r, _ := s.answer(t, discover().via(relayAddr, other.Device, other.Name).from("52:54:00:77:77:78")); r.Outcome != Offered || r.Seen.Alarm != "" {
		t.Errorf("%s %q", r.Outcome, r.Seen.Alarm)
	}
}
