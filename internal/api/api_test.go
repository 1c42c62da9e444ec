package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a rack of one management switch and one server that obeys orders
// as its run does.
type backend struct {
	rack *rack.Rack
	log  *journal.Memory
	fail error // what Order answers instead

	mu  sync.Mutex
	got []rack.Order
}

func newBackend() *backend {
	return &backend{log: journal.NewMemory(), rack: &rack.Rack{Name: "r1", Devices: []rack.Device{
		{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "p"},
		{Name: "server-01", Role: rack.Server, Platform: "p"},
	}}}
}

func (b *backend) NewRun() *rack.Run {
	return rack.NewRun(b.rack, map[string]rack.Platform{"p": {Name: "p"}})
}
func (b *backend) Log() journal.Log                      { return b.log }
func (b *backend) Plan() []byte                          { return []byte(`{"plan":1}`) }
func (b *backend) Driven() bool                          { return true }
func (b *backend) Speed() float64                        { return 60 }
func (b *backend) Transferred(string) (sent, size int64) { return 1, 4 }
func (b *backend) orders() []rack.Order                  { b.mu.Lock(); defer b.mu.Unlock(); return slices.Clone(b.got) }
func (b *backend) append(t *testing.T, e ...rack.Event) {
	t.Helper()
	if _, err := b.log.Append(e...); err != nil {
		t.Fatal(err)
	}
}

func (b *backend) Order(_ context.Context, o rack.Order) ([]rack.Event, error) {
	b.mu.Lock()
	b.got = append(b.got, o)
	b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	run := b.NewRun()
	past, err := b.log.Read(1, 1<<20)
	if err != nil {
		return nil, err
	}
	for _, e := range past {
		run.Apply(e)
	}
	events, err := run.Obey(o)
	if err != nil {
		return nil, err
	}
	return b.log.Append(events...)
}

// local serves a backend to this process until the test ends.
func local(t *testing.T, b *backend) *Client {
	c, stop := Local(New(b))
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func started() rack.Event {
	return rack.Event{Rack: "r1", Kind: rack.RackStarted, Detail: rack.Detail{Run: "x7", PlanHash: "aa"}}
}

// short is a directory whose path leaves room for a socket.
func short(t *testing.T) string {
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestNames(t *testing.T) {
	if r, err := messages.ParseRack(messages.RackName("r1")); r != "r1" || err != nil {
		t.Error(r, err)
	}
	if r, d, err := messages.ParseDevice(messages.DeviceName("r1", "tor-1")); r != "r1" || d != "tor-1" || err != nil {
		t.Error(r, d, err)
	}
	for _, name := range []string{"", "r1", "racks/", "racks/r1/", "racks/r1/devices", "racks/r1/devices/", "racks//devices/d", "rack/r1/devices/d",
		"racks/r1/slots/d", "racks/r1/devices/d/e", "/racks/r1", strings.Repeat("x", 10000)} {
		if _, err := messages.ParseRack(name); err == nil && name != "racks/r1" {
			t.Errorf("%.40q was taken for a rack", name)
		}
		if _, _, err := messages.ParseDevice(name); err == nil {
			t.Errorf("%.40q was taken for a device", name)
		} else if len(err.Error()) > 200 {
			t.Errorf("%.40q: the error has %d bytes", name, len(err.Error()))
		}
	}
}

// TestStateIsThatOfTheJournal: what is told was durable before.
func TestStateIsThatOfTheJournal(t *testing.T) {
	b := newBackend()
	c := local(t, b)
	get := func() *messages.Rack {
		t.Helper()
		a, err := c.GetRack(t.Context(), connect.NewRequest(&messages.GetRackRequest{Name: "racks/r1"}))
		if err != nil {
			t.Fatal(err)
		}
		return a.Msg.GetRack()
	}
	if r := get(); r.GetStatus() != "idle" || r.GetLastSeq() != 0 || r.GetLastTime() != nil || len(r.GetDevices()) != 2 {
		t.Errorf("before the first event: %v", r)
	}
	b.append(t, started(), rack.Event{Rack: "r1", Device: "server-01", Role: rack.Server, Kind: rack.DeviceFailed, Detail: rack.Detail{Error: "no luck"}})
	r := get()
	if r.GetStatus() != "imaging" || r.GetRun() != "x7" || r.GetLastSeq() != 2 || r.GetLastTime() == nil || !r.GetDriven() || r.GetSpeed() != 60 {
		t.Errorf("after it: %v", r)
	}
	d := r.GetDevices()[1]
	if d.GetName() != "racks/r1/devices/server-01" || d.GetStatus() != "failed" || d.GetError() != "no luck" || !strings.Contains(d.GetRemedy(), "rackreach retry server-01") || d.GetSize() != 4 {
		t.Errorf("its server: %v", d)
	}
	racks, err := c.ListRacks(t.Context(), connect.NewRequest(&messages.ListRacksRequest{}))
	if err != nil || !slices.Equal(racks.Msg.GetNames(), []string{"racks/r1"}) {
		t.Error(racks, err)
	}
	plan, err := c.GetPlan(t.Context(), connect.NewRequest(&messages.GetPlanRequest{Name: "racks/r1"}))
	if err != nil || string(plan.Msg.GetPlan()) != `{"plan":1}` {
		t.Error(plan, err)
	}
}

// TestOtherNamesAreRefused: by every method, before anything is ordered.
func TestOtherNamesAreRefused(t *testing.T) {
	b := newBackend()
	c := local(t, b)
	ctx := t.Context()
	calls := map[string]func(rack, device string) error{
		"get": func(r, _ string) error {
			_, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: r}))
			return err
		},
		"plan": func(r, _ string) error {
			_, err := c.GetPlan(ctx, connect.NewRequest(&messages.GetPlanRequest{Name: r}))
			return err
		},
		"halt": func(r, _ string) error {
			_, err := c.HaltRack(ctx, connect.NewRequest(&messages.HaltRackRequest{Name: r}))
			return err
		},
		"resume": func(r, _ string) error {
			_, err := c.ResumeRack(ctx, connect.NewRequest(&messages.ResumeRackRequest{Name: r}))
			return err
		},
		"retry": func(_, d string) error {
			_, err := c.RetryDevice(ctx, connect.NewRequest(&messages.RetryDeviceRequest{Name: d}))
			return err
		},
		"skip": func(_, d string) error {
			_, err := c.SkipDevice(ctx, connect.NewRequest(&messages.SkipDeviceRequest{Name: d}))
			return err
		},
		"bind": func(_, d string) error {
			_, err := c.BindDevice(ctx, connect.NewRequest(&messages.BindDeviceRequest{Name: d}))
			return err
		},
		"replace": func(_, d string) error {
			_, err := c.ReplaceDevice(ctx, connect.NewRequest(&messages.ReplaceDeviceRequest{Name: d}))
			return err
		},
		"reimage": func(_, d string) error {
			_, err := c.ReimageDevice(ctx, connect.NewRequest(&messages.ReimageDeviceRequest{Name: d, Confirm: "server-01"}))
			return err
		},
		"watch": func(r, _ string) error {
			s, err := c.WatchEvents(ctx, connect.NewRequest(&messages.WatchEventsRequest{Name: r, Follow: true}))
			if err != nil {
				return err
			}
			for s.Receive() {
			}
			return errors.Join(s.Err(), s.Close())
		},
	}
	for name, call := range calls {
		if err := call("racks/r9", "racks/r9/devices/server-01"); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s of another rack: %v", name, err)
		}
		if err := call("r1", "server-01"); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s of what is no name: %v", name, err)
		}
	}
	if got := b.orders(); len(got) > 0 {
		t.Errorf("ordered: %+v", got)
	}
}

// TestReimageIsConfirmed by the device's own name, and by nothing else.
func TestReimageIsConfirmed(t *testing.T) {
	b := newBackend()
	b.append(t, started(), rack.Event{Rack: "r1", Device: "server-01", Role: rack.Server, Kind: rack.Observed, Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Device: "server-01"}}})
	c := local(t, b)
	reimage := func(confirm string) error {
		_, err := c.ReimageDevice(t.Context(), connect.NewRequest(&messages.ReimageDeviceRequest{Name: "racks/r1/devices/server-01", Confirm: confirm}))
		return err
	}
	for _, confirm := range []string{"", "yes", "server-02", "SERVER-01", "server-01 ", "racks/r1/devices/server-01"} {
		if err := reimage(confirm); connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "write its own name") {
			t.Errorf("confirmed with %q: %v", confirm, err)
		}
	}
	if got := b.orders(); len(got) > 0 {
		t.Fatalf("ordered without confirmation: %+v", got)
	}
	if err := reimage("server-01"); err != nil || len(b.orders()) != 1 {
		t.Error(err, b.orders())
	}
}

// TestRefusalsCarryWhatToDo: a client tells a refusal from a rack that cannot answer.
func TestRefusalsCarryWhatToDo(t *testing.T) {
	b := newBackend()
	c := local(t, b)
	retry := func() error {
		_, err := c.RetryDevice(t.Context(), connect.NewRequest(&messages.RetryDeviceRequest{Name: "racks/r1/devices/server-01"}))
		return err
	}
	err := retry()
	var e *connect.Error
	if !errors.As(err, &e) || e.Code() != connect.CodeFailedPrecondition || len(e.Details()) != 1 {
		t.Fatalf("%v", err)
	}
	v, err := e.Details()[0].Value()
	if no, ok := v.(*messages.Refusal); !ok || err != nil || no.GetWhat() == "" || no.GetNext() == "" {
		t.Errorf("%v, %v", v, err)
	}
	b.fail = errors.New("the run is ending")
	if err := retry(); connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "the run is ending") {
		t.Error(err)
	}
}

// TestWhoOrders is what the kernel says of the other end of the socket.
func TestWhoOrders(t *testing.T) {
	b := newBackend()
	b.append(t, started())
	path := filepath.Join(short(t), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info.Mode(), err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- New(b).Serve(ctx, l) }()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	q := connect.NewRequest(&messages.SkipDeviceRequest{Name: "racks/r1/devices/server-01", Reason: "no power"})
	q.Header().Set("X-Forwarded-User", "mallory") // what a client says of itself counts for nothing
	a, err := c.SkipDevice(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := messages.ToEvent(a.Msg.GetEvents()[0]); err != nil || e.Detail.By != Peer(nil) || e.Detail.By == "" {
		t.Errorf("ordered by %q, want %q, %v", e.Detail.By, Peer(nil), err)
	}
	c.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("dial once it has ended: %v", err)
	}
}

func TestListen(t *testing.T) {
	if _, err := Listen("/tmp/" + strings.Repeat("x", maxSocketPath)); err == nil || !strings.Contains(err.Error(), "give a shorter --state") {
		t.Error(err)
	}
	dir := short(t)
	path := filepath.Join(dir, "new", "api.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that was killed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("a socket that a dead process left: %v", err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// watch collects the sequences of a stream.
func watch(ctx context.Context, c *Client, from uint64, follow bool) ([]uint64, error) {
	s, err := c.WatchEvents(ctx, connect.NewRequest(&messages.WatchEventsRequest{Name: "racks/r1", FromSeq: from, Follow: follow}))
	if err != nil {
		return nil, err
	}
	var got []uint64
	for s.Receive() {
		for _, m := range s.Msg().GetEvents() {
			got = append(got, m.GetSeq())
		}
	}
	return got, errors.Join(s.Err(), s.Close())
}

func many(n int) (events []rack.Event) {
	for i := range n {
		events = append(events, rack.Event{Rack: "r1", Device: "server-01", Role: rack.Server, Kind: rack.DeviceFinding, Detail: rack.Detail{Reason: fmt.Sprint("finding ", i, strings.Repeat(".", 1000))}})
	}
	return events
}

// TestStreamsEnd: at the end of the journal, and a following one when the
// service ends, but not before it has read everything.
func TestStreamsEnd(t *testing.T) {
	b := newBackend()
	b.append(t, many(2*batch+10)...)
	s := New(b)
	c, stop := Local(s)
	if got, err := watch(t.Context(), c, 0, false); err != nil || len(got) != 2*batch+10 || got[0] != 1 {
		t.Errorf("%d events, %v", len(got), err)
	}
	if got, err := watch(t.Context(), c, 2*batch+10, false); err != nil || !slices.Equal(got, []uint64{2*batch + 10}) {
		t.Errorf("from the last one on: %v, %v", got, err)
	}
	if got, err := watch(t.Context(), c, 1<<40, false); err != nil || len(got) != 0 {
		t.Errorf("from beyond the end on: %v, %v", got, err)
	}
	type result struct {
		got []uint64
		err error
	}
	followed := make(chan result, 1)
	go func() {
		got, err := watch(context.Background(), c, 2*batch, true)
		followed <- result{got, err}
	}()
	b.append(t, many(3*batch)...)
	s.End()
	if r := <-followed; r.err != nil || len(r.got) != 3*batch+11 || r.got[0] != 2*batch {
		t.Errorf("following: %d events, %v", len(r.got), r.err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestStreamsEndWithTheJournal: a journal that was closed has no more to come.
func TestStreamsEndWithTheJournal(t *testing.T) {
	b := newBackend()
	b.append(t, many(3)...)
	c := local(t, b)
	if err := b.log.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := watch(t.Context(), c, 1, true); err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSlowReader: one that takes nothing holds up neither orders, nor other
// readers, nor for long the end of the service.
func TestSlowReader(t *testing.T) {
	b := newBackend()
	b.append(t, started())
	b.append(t, many(20*batch)...)
	c, stop := Local(New(b))
	slow, err := c.WatchEvents(t.Context(), connect.NewRequest(&messages.WatchEventsRequest{Name: "racks/r1", Follow: true}))
	if err != nil || !slow.Receive() {
		t.Fatal(err)
	}
	if got, err := watch(t.Context(), c, 1, false); err != nil || len(got) != 20*batch+1 {
		t.Errorf("another reader: %d events, %v", len(got), err)
	}
	if _, err := c.SkipDevice(t.Context(), connect.NewRequest(&messages.SkipDeviceRequest{Name: "racks/r1/devices/server-01", Reason: "x"})); err != nil {
		t.Errorf("an order: %v", err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if took := time.Since(began); took > 2*farewellLimit {
		t.Errorf("the service took %s to end", took)
	}
	if err := slow.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Log("the slow reader:", err)
	}
}

// TestRequestsAreBounded: orders are short.
func TestRequestsAreBounded(t *testing.T) {
	b := newBackend()
	c := local(t, b)
	_, err := c.HaltRack(t.Context(), connect.NewRequest(&messages.HaltRackRequest{Name: "racks/r1", Reason: strings.Repeat("x", maxRequest+1)}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Error(err)
	}
	if got := b.orders(); len(got) > 0 {
		t.Errorf("%d orders came through", len(got))
	}
}
