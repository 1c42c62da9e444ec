package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/examples"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for; it is no measure of speed.
const patience = 30 * time.Second

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// served is a coordinator on real sockets.
type served struct {
	t        testing.TB
	dir      string // of its log, its authority and its socket
	url      string
	o        Options
	c        *Coordinator
	admin    *api.Client // over the unix socket
	registry *prometheus.Registry
	stop     func()
}

// home makes a state directory. One with an authority serves TLS.
func home(t testing.TB, secure bool) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rr") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if secure {
		if err := pki.InitAuthorities(filepath.Join(dir, "pki")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serve runs a coordinator until the test ends, or it is stopped. nats is empty:
// its log is in its directory.
func serve(t testing.TB, dir, nats, listen string) *served {
	t.Helper()
	log, err := fleetlog.Open(t.Context(), fleetlog.Options{Dir: filepath.Join(dir, "log"), URL: nats, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, dir: dir, registry: prometheus.NewRegistry()}
	network, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	unix, err := api.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + network.Addr().String()
	security := Security{Dir: dir}
	if _, err := os.Stat(filepath.Join(dir, "pki")); err == nil {
		s.url = "https://" + network.Addr().String()
		security.Names, security.URL = []string{"127.0.0.1"}, s.url
	}
	ready := make(chan struct{})
	s.o = Options{Log: log, Version: "test", Snapshots: filepath.Join(dir, "snapshots"), Build: "test", Unix: unix, Network: network, Security: security, Registry: s.registry, Depot: filepath.Join(dir, "depot"), Ready: func() { close(ready) },
		Logger: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		s.o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if s.c, err = New(t.Context(), s.o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.c.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		s.admin.Close()
		cancel()
		if err := errors.Join(<-done, log.Close()); err != nil {
			t.Errorf("the coordinator ended with: %v", err)
		}
	})
	if s.admin, err = api.Dial(t.Context(), filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// enroll is a new identity of the agent of a rack.
func (s *served) enroll(name string) *pki.Identity {
	s.t.Helper()
	token, err := s.admin.Access.CreateEnrollment(s.t.Context(), connect.NewRequest(&messages.CreateEnrollmentRequest{Rack: name}))
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := pki.Enroll(s.t.Context(), token.Msg.GetToken(), filepath.Join(s.t.TempDir(), "identity"))
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// token is a client over the network that shows a new token of a role.
func (s *served) token(role string) *api.Client {
	s.t.Helper()
	answer, err := s.admin.Access.CreateToken(s.t.Context(), connect.NewRequest(&messages.CreateTokenRequest{Name: role, Role: role}))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.client(answer.Msg.GetSecret(), s.trust())
}

// client is a client over the network.
func (s *served) client(secret string, config *tls.Config) *api.Client {
	s.t.Helper()
	c, err := api.Connect(api.Server{URL: s.url, TLS: config, Token: secret})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// trust is how somebody without a certificate trusts the coordinator.
func (s *served) trust() *tls.Config {
	s.t.Helper()
	if s.c.keeper.server == nil {
		return nil
	}
	config, err := pki.ClientTLS("127.0.0.1", "", s.c.keeper.server.Fingerprint())
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

// rack is a rack as the fleet shows it; nil: it is not known.
func (s *served) rack(name string) *messages.FleetRack {
	s.t.Helper()
	for _, r := range s.fleet().GetRacks() {
		if r.GetName() == messages.RackName(name) {
			return r
		}
	}
	return nil
}

func (s *served) fleet() *messages.Fleet {
	s.t.Helper()
	f, err := s.admin.Fleet.GetFleet(s.t.Context(), connect.NewRequest(&messages.GetFleetRequest{}))
	if err != nil {
		s.t.Fatal(err)
	}
	return f.Msg.GetFleet()
}

func (s *served) connected(name string) bool { return s.rack(name).GetAgent().GetConnected() }

// plan is what a rack carries out.
func plan(t testing.TB, name string) *state.Plan {
	t.Helper()
	r, err := rackfile.Parse("rack-1.yaml", must(examples.Files.ReadFile("rack-1.yaml")), examples.Files.ReadFile, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	r.Name = name
	p := &state.Plan{Rack: r, Platforms: map[string]rack.Platform{}}
	if p.Plan, err = rack.NewPlan(r, platform.All(), func(name string) (rack.Image, error) {
		return rack.Image{Name: name, Digest: "sha256:" + strings.Repeat("0", 64), Size: 1}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range r.Devices {
		p.Platforms[r.Devices[i].Platform] = platform.All()[r.Devices[i].Platform]
	}
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// put puts the plan of a rack and returns its hash.
func (s *served) put(name string) string {
	s.t.Helper()
	b := must(plan(s.t, name).Encode())
	a, err := s.admin.Fleet.PutPlan(s.t.Context(), connect.NewRequest(&messages.PutPlanRequest{Name: messages.RackName(name), Plan: b}))
	if err != nil {
		s.t.Fatal(err)
	}
	return a.Msg.GetPlanHash()
}

// agent is the agent of a rack: an Uplink over a journal in memory. It begins a
// rack that it is ordered to apply, and obeys every other order by a word.
type agent struct {
	t       testing.TB
	rack    string
	journal *journal.Memory
	stop    func()
	done    chan struct{}
	err     error // once done is closed

	mu     sync.Mutex
	obeyed []string // ids
	verbs  []string
	states []bus.State
}

// kept is a journal as an Uplink reads it.
type kept struct{ *journal.Memory }

func (k kept) Last() uint64 { return uint64(len(must(k.Read(1, 1<<30)))) }

// agent connects an agent. id is nil: it has no certificate.
func (s *served) agent(name string, id *pki.Identity, j *journal.Memory, change func(*bus.UplinkOptions)) *agent {
	s.t.Helper()
	var config *tls.Config
	if id != nil {
		config = id.ClientTLS("127.0.0.1")
	}
	return newAgent(s.t, s.url, config, name, j, change)
}

func newAgent(t testing.TB, url string, config *tls.Config, name string, j *journal.Memory, change func(*bus.UplinkOptions)) *agent {
	t.Helper()
	client, err := bus.Dial(url, config)
	if err != nil {
		t.Fatal(err)
	}
	if j == nil {
		j = journal.NewMemory()
	}
	a := &agent{t: t, rack: name, journal: j, done: make(chan struct{})}
	o := bus.UplinkOptions{Client: client, Rack: name, Name: "j-" + name, Journal: kept{j}, HeartbeatEvery: 2 * time.Second, BackoffMin: time.Millisecond, BackoffMax: 50 * time.Millisecond,
		Hello:     func() *messages.Hello { return &messages.Hello{Version: "test", MetricsAddress: "127.0.0.1:9100"} },
		Welcomed:  func(uint64) error { return nil },
		Obey:      a.obey,
		Heartbeat: func() *messages.Heartbeat { return &messages.Heartbeat{LastSeq: kept{j}.Last(), Driven: true} },
		State:     func(s bus.State) { a.mu.Lock(); a.states = append(a.states, s); a.mu.Unlock() }}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(a.done)
		a.err = bus.NewUplink(o).Run(ctx)
	}()
	a.stop = sync.OnceFunc(func() { cancel(); <-a.done; client.Close() })
	t.Cleanup(a.stop)
	return a
}

func (a *agent) obey(_ context.Context, o *messages.Order) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range must(a.journal.Read(1, 1<<30)) {
		if e.Detail.Order == o.GetId() {
			return
		}
	}
	a.obeyed, a.verbs = append(a.obeyed, o.GetId()), append(a.verbs, o.GetVerb())
	e := rack.Event{Rack: a.rack, Kind: rack.OrderAnswered, Detail: rack.Detail{Order: o.GetId(), By: o.GetBy()}}
	switch o.GetVerb() {
	case messages.VerbApply:
		e.Kind, e.Detail.PlanHash, e.Detail.Run = rack.RackStarted, o.GetPlanHash(), "run-"+a.rack
		if p, err := state.Decode(o.GetPlan()); err != nil || p.Plan.Hash != o.GetPlanHash() {
			e.Kind, e.Detail = rack.OrderAnswered, rack.Detail{Order: o.GetId(), Error: fmt.Sprintf("the plan is not whole: %v", err), Next: "give it"}
		}
	case string(rack.Retry):
		e.Detail.Error, e.Detail.Next = "it has not failed", "wait"
	case string(rack.Resume):
		e.Kind = rack.RackResumed
	}
	a.add(e)
}

// add journals events.
func (a *agent) add(events ...rack.Event) {
	for i := range events {
		events[i].Rack = a.rack
	}
	must(a.journal.Append(events...))
}

// did are the ids of the orders that it obeyed.
func (a *agent) did() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.obeyed)
}

// findings are n events that say nothing.
func findings(n int) (out []rack.Event) {
	for i := range n {
		out = append(out, rack.Event{Device: "tor-1", Role: rack.ToRSwitch, Kind: rack.DeviceFinding, Detail: rack.Detail{Reason: fmt.Sprint(i)}})
	}
	return out
}

// watched are the sequences of a rack's events from one on, to the end of the log.
func (s *served) watched(c *api.Client, name string, from uint64) (out []uint64) {
	s.t.Helper()
	stream, err := c.WatchEvents(s.t.Context(), connect.NewRequest(&messages.WatchEventsRequest{Name: messages.RackName(name), FromSeq: from}))
	if err != nil {
		s.t.Fatal(err)
	}
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			out = append(out, e.GetSeq())
		}
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		s.t.Error(err)
	}
	return out
}

// holds checks that the log has events 1 to last of a rack, each once.
func (s *served) holds(name string, last int) {
	s.t.Helper()
	got := s.watched(s.admin, name, 1)
	if len(got) != last {
		s.t.Fatalf("the log holds %d events of %s, not %d", len(got), name, last)
	}
	for i, seq := range got {
		if seq != uint64(i+1) {
			s.t.Fatalf("event %d of %s stands at place %d", seq, name, i+1)
		}
	}
}

// busClient is a client of the BusService over a client of HTTP/2.
func busClient(h *http.Client, url string) messagesconnect.BusServiceClient {
	return messagesconnect.NewBusServiceClient(h, url, connect.WithGRPC())
}
