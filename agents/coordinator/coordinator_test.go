package coordinator

import (
	"errors"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// refusalOf is why an order was not obeyed; nil: it was, or another error.
func refusalOf(err error) *messages.Refusal {
	var e *connect.Error
	if !errors.As(err, &e) {
		return nil
	}
	for _, d := range e.Details() {
		if v, err := d.Value(); err == nil {
			if r, ok := v.(*messages.Refusal); ok {
				return r
			}
		}
	}
	return nil
}

// TestEventsUpAndOrdersDown is the way of all that matters: over TLS with the
// agent's own certificate, and back to whoever asked.
func TestEventsUpAndOrdersDown(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	operator := s.token("operator")
	hash := s.put("r1")
	a := s.agent("r1", s.enroll("r1"), nil, nil)
	until(t, "the agent is connected", func() bool { return s.connected("r1") })
	applied, err := operator.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r1", PlanHash: hash}))
	if err != nil {
		t.Fatal(err)
	}
	if got := a.did(); !slices.Equal(got, []string{applied.Msg.GetOrder()}) {
		t.Fatalf("obeyed: %q", got)
	}
	a.add(findings(1000)...)
	until(t, "all events are in the log", func() bool { return s.rack("r1").GetLastSeq() == 1001 })
	s.holds("r1", 1001)
	got, err := operator.GetRack(t.Context(), connect.NewRequest(&messages.GetRackRequest{Name: "racks/r1"}))
	if err != nil {
		t.Fatal(err)
	}
	if r := got.Msg.GetRack(); r.GetStatus() != string(rack.Imaging) || len(r.GetDevices()) != 9 || r.GetPlanHash() != hash || !r.GetAgent().GetDriven() {
		t.Errorf("state: %v", r)
	}
	p, err := operator.GetPlan(t.Context(), connect.NewRequest(&messages.GetPlanRequest{Name: "racks/r1"}))
	if err != nil || string(p.Msg.GetPlan()) != string(must(plan(t, "r1").Encode())) {
		t.Errorf("the plan came back as another one: %v", err)
	}
	done, err := operator.SkipDevice(t.Context(), connect.NewRequest(&messages.SkipDeviceRequest{Name: "racks/r1/devices/server-01", Reason: "broken"}))
	if err != nil || len(done.Msg.GetEvents()) != 1 || done.Msg.GetEvents()[0].GetDetail().GetBy() != "operator" {
		t.Errorf("skip: %v, %v", done, err)
	}
	_, err = operator.RetryDevice(t.Context(), connect.NewRequest(&messages.RetryDeviceRequest{Name: "racks/r1/devices/server-01"}))
	if r := refusalOf(err); r.GetWhat() != "it has not failed" || r.GetNext() != "wait" {
		t.Errorf("retry: %v", err)
	}
	until(t, "no order is left", func() bool { return s.rack("r1").GetOrders() == 0 })
}

// TestARackWithoutAPlanTakesOrders: an agent that has no plan refuses what it is
// ordered, and its refusal is the first event of its journal.
func TestARackWithoutAPlanTakesOrders(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	a := s.agent("r1", nil, nil, nil)
	until(t, "the agent is connected", func() bool { return s.connected("r1") })
	for range 3 {
		_, err := s.admin.RetryDevice(t.Context(), connect.NewRequest(&messages.RetryDeviceRequest{Name: "racks/r1/devices/server-01"}))
		if refusalOf(err) == nil {
			t.Fatalf("not refused by the agent: %v", err)
		}
	}
	if n := len(a.did()); n != 3 {
		t.Errorf("%d orders were obeyed", n)
	}
}

// TestARestartKeepsAll: events, plans, orders, fleet and who may do what.
func TestARestartKeepsAll(t *testing.T) {
	dir := home(t, true)
	s := serve(t, dir, "", "127.0.0.1:0")
	at := s.o.Network.Addr().String()
	id, j := s.enroll("r1"), journal.NewMemory()
	a := s.agent("r1", id, j, nil)
	hash := s.put("r1")
	until(t, "the agent is connected", func() bool { return s.connected("r1") })
	if _, err := s.admin.Fleet.ApplyFleet(t.Context(), connect.NewRequest(&messages.ApplyFleetRequest{Name: "f", AtOnce: 1,
		Racks: []*messages.ApplyRackRequest{{Name: "racks/r1", PlanHash: hash}}})); err != nil {
		t.Fatal(err)
	}
	until(t, "the rack is begun", func() bool { return s.rack("r1").GetStatus() == string(rack.Imaging) })
	a.add(findings(300)...)
	until(t, "all is in the log", func() bool { return s.rack("r1").GetLastSeq() == 301 })
	a.stop()
	until(t, "the agent is away", func() bool { return !s.connected("r1") })
	later := make(chan error, 1)
	go func() { // it is kept, and answered by nobody so far
		_, err := s.admin.SkipDevice(t.Context(), connect.NewRequest(&messages.SkipDeviceRequest{Name: "racks/r1/devices/server-02"}))
		later <- err
	}()
	until(t, "the order is kept", func() bool { return s.rack("r1").GetOrders() == 1 })
	s.stop()
	if err := <-later; err == nil {
		t.Error("an order was answered that nobody obeyed")
	}
	a.add(findings(50)...)

	s = serve(t, dir, "", at)
	until(t, "the rack is known", func() bool {
		return s.rack("r1").GetStatus() == string(rack.Imaging) && s.rack("r1").GetLastSeq() == 301 && s.rack("r1").GetOrders() == 1
	})
	if f := s.fleet(); f.GetName() != "f" || f.GetAtOnce() != 1 || f.GetStatus() != string(rack.Imaging) {
		t.Errorf("the fleet: %v", f)
	}
	b := s.agent("r1", id, j, nil)
	until(t, "the order is obeyed, and no order is left", func() bool { return len(b.did()) == 1 && s.rack("r1").GetOrders() == 0 })
	until(t, "the rest is in the log", func() bool { return s.rack("r1").GetLastSeq() == 352 })
	s.holds("r1", 352)
	if len(a.did()) != 1 {
		t.Errorf("obeyed before: %q", a.did())
	}
}

// TestWatchersSeeEachEventOnce from any place, with what comes, and as slow as they like.
func TestWatchersSeeEachEventOnce(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	viewer := s.client("", nil) // on loopback, without certificates
	a := s.agent("r1", nil, nil, nil)
	b := s.agent("r2", nil, nil, nil)
	until(t, "both are known", func() bool { return s.rack("r1") != nil && s.rack("r2") != nil })
	a.add(findings(700)...)
	b.add(findings(10)...)
	until(t, "all is in the log", func() bool { return s.rack("r1").GetLastSeq() == 700 && s.rack("r2").GetLastSeq() == 10 })
	for from, want := range map[uint64]int{0: 700, 1: 700, 350: 351, 700: 1, 701: 0, 1 << 63: 0} {
		got := s.watched(viewer, "r1", from)
		if len(got) != want || want > 0 && got[0] != max(from, 1) {
			t.Errorf("from %d: %d events", from, len(got))
		}
	}
	// A slow reader holds up nobody, and misses nothing.
	slow, err := viewer.WatchEvents(t.Context(), connect.NewRequest(&messages.WatchEventsRequest{Name: "racks/r1", FromSeq: 600, Follow: true}))
	if err != nil {
		t.Fatal(err)
	}
	all, err := viewer.Fleet.WatchFleet(t.Context(), connect.NewRequest(&messages.WatchFleetRequest{Follow: true}))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		a.add(findings(500)...)
	}
	until(t, "all is in the log", func() bool { return s.rack("r1").GetLastSeq() == 2700 })
	next := uint64(600)
	for next <= 2700 && slow.Receive() {
		for _, e := range slow.Msg().GetEvents() {
			if e.GetSeq() != next {
				t.Fatalf("event %d came where %d is due", e.GetSeq(), next)
			}
			next++
		}
	}
	if next != 2701 {
		t.Errorf("it ended before event %d: %v", next, slow.Err())
	}
	seen := map[string]uint64{}
	var middle uint64
	var after map[string]uint64
	for (seen["r1"] < 2700 || seen["r2"] < 10) && all.Receive() {
		for _, e := range all.Msg().GetEvents() {
			if seen[e.GetRack()]++; e.GetSeq() != seen[e.GetRack()] {
				t.Fatalf("event %d of %s came where %d is due", e.GetSeq(), e.GetRack(), seen[e.GetRack()])
			}
		}
		if seen["r1"] > 1500 && middle == 0 {
			middle, after = all.Msg().GetPosition(), map[string]uint64{"r1": seen["r1"], "r2": seen["r2"]}
		}
	}
	if seen["r1"] != 2700 || seen["r2"] != 10 {
		t.Errorf("seen: %v, %v", seen, all.Err())
	}
	// From a place that was told, and to the end.
	rest, err := viewer.Fleet.WatchFleet(t.Context(), connect.NewRequest(&messages.WatchFleetRequest{After: middle}))
	if err != nil {
		t.Fatal(err)
	}
	for rest.Receive() {
		for _, e := range rest.Msg().GetEvents() {
			if after[e.GetRack()]++; e.GetSeq() != after[e.GetRack()] {
				t.Fatalf("event %d of %s came where %d is due", e.GetSeq(), e.GetRack(), after[e.GetRack()])
			}
		}
	}
	if after["r1"] != 2700 || after["r2"] != 10 || rest.Err() != nil {
		t.Errorf("seen: %v, %v", after, rest.Err())
	}
	for _, x := range []interface{ Close() error }{slow, all, rest} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	// No place that somebody writes does any harm.
	for _, place := range []uint64{1 << 40, 1<<64 - 1} {
		stream, err := viewer.Fleet.WatchFleet(t.Context(), connect.NewRequest(&messages.WatchFleetRequest{After: place}))
		if err != nil {
			t.Fatal(err)
		}
		if stream.Receive() || stream.Err() != nil {
			t.Errorf("after %d: %v, %v", place, stream.Msg(), stream.Err())
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTheCoordinatorEndsWhileStreamsAreOpen: nobody holds it up.
func TestTheCoordinatorEndsWhileStreamsAreOpen(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	a := s.agent("r1", nil, nil, nil)
	a.add(findings(1)...)
	until(t, "the event is in the log", func() bool { return s.rack("r1").GetLastSeq() == 1 })
	viewer := s.client("", nil)
	stream, err := viewer.WatchEvents(t.Context(), connect.NewRequest(&messages.WatchEventsRequest{Name: "racks/r1", Follow: true}))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.stop()
	if d := time.Since(began); d > patience {
		t.Errorf("it took %s", d)
	}
	for stream.Receive() {
	}
	if err := stream.Close(); err != nil {
		t.Log(err)
	}
}

// TestEventsGoTogether up to a bound, in their order.
func TestEventsGoTogether(t *testing.T) {
	entry := func(events, bytes int) fleetlog.Entry {
		return fleetlog.Entry{Events: make([]*messages.Event, events), Bytes: bytes}
	}
	for _, x := range []struct {
		name    string
		entries []fleetlog.Entry
		n, sum  int
	}{
		{"a claim alone", []fleetlog.Entry{entry(0, 0)}, 1, 0},
		{"all of them", []fleetlog.Entry{entry(2, 100), entry(0, 0), entry(3, 100)}, 3, 5},
		{"not too many", []fleetlog.Entry{entry(readLimit-1, 100), entry(1, 1), entry(1, 1)}, 2, readLimit},
		{"not too large", []fleetlog.Entry{entry(1, watchBytes-1), entry(1, 1), entry(1, 1)}, 2, 2},
		{"one that is too large goes alone", []fleetlog.Entry{entry(1, 2*watchBytes), entry(1, 1)}, 1, 1},
	} {
		if n, events := together(x.entries); n != x.n || len(events) != x.sum {
			t.Errorf("%s: %d entries with %d events", x.name, n, len(events))
		}
	}
}
