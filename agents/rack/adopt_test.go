package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// holder is a coordinator that holds the history of one rack.
type holder struct {
	messagesconnect.UnimplementedBusServiceHandler
	plan   []byte
	events []rack.Event
	epoch  uint64
	short  bool // the last event is left out
	torn   int  // events that are sent before the connection is lost; 0: all
	got    []*messages.AdoptRequest
}

// Adopt implements the service.
func (h *holder) Adopt(_ context.Context, q *connect.Request[messages.AdoptRequest], s *connect.ServerStream[messages.AdoptResponse]) error {
	if q.Msg.GetLook() {
		return s.Send(&messages.AdoptResponse{Epoch: h.epoch, Plan: h.plan, LastSeq: uint64(len(h.events)), ServerIds: []string{"192.168.104.254"}, Siblings: []string{"192.168.105.254"}})
	}
	h.got = append(h.got, q.Msg)
	h.epoch++
	last := uint64(len(h.events))
	if err := s.Send(&messages.AdoptResponse{Epoch: h.epoch, Plan: h.plan, LastSeq: last}); err != nil {
		return err
	}
	for i, e := range h.events {
		if h.short && i == len(h.events)-1 {
			return nil
		}
		if h.torn > 0 && i == h.torn {
			return connect.NewError(connect.CodeUnavailable, errors.New("gone"))
		}
		if err := s.Send(&messages.AdoptResponse{LastSeq: last, Events: []*messages.Event{messages.FromEvent(e)}}); err != nil {
			return err
		}
	}
	return nil
}

// history is what an agent journalled until it was lost: one switch is ready, one
// is being installed.
func history(t *testing.T, p *state.Plan) []rack.Event {
	t.Helper()
	log := journal.NewMemory()
	if _, err := log.Append(
		rack.Event{Rack: "r4", Kind: rack.RackStarted, Detail: rack.Detail{Run: "first", PlanHash: p.Plan.Hash, Order: "o1", By: "ada"}},
		rack.Event{Rack: "r4", Device: "mgmt-1", Role: rack.ManagementSwitch, Kind: rack.DeviceReady},
		rack.Event{Rack: "r4", Device: "tor-1", Role: rack.ToRSwitch, Kind: rack.PhaseStarted, Phase: rack.Installation},
	); err != nil {
		t.Fatal(err)
	}
	events, err := log.Read(1, 100)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func newHolder(t *testing.T) (*holder, AdoptOptions) {
	t.Helper()
	p := resolved(t, smallRack)
	p.Simulated = &state.Simulated{Socket: "/elsewhere"}
	plan, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{plan: plan, events: history(t, p), epoch: 6}
	_, handler := messagesconnect.NewBusServiceHandler(h)
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return h, AdoptOptions{Home: state.Home(t.TempDir()), Rack: "r4", Client: messagesconnect.NewBusServiceClient(s.Client(), s.URL),
		Living: func(context.Context, Lost) (string, error) { return "", nil }}
}

// TestAdopt: the new agent holds what the lost one had told, goes on with it, and
// leaves alone what it cannot know; and it does not obey what was obeyed.
func TestAdopt(t *testing.T) {
	h, o := newHolder(t)
	a, err := Adopt(t.Context(), o)
	if err != nil || a.Epoch != 7 || a.Last != 3 || a.Aside != "" {
		t.Fatalf("%+v %v", a, err)
	}
	kept, err := OpenWaiting(o.Home.Rack("r4"), "r4")
	if err != nil {
		t.Fatal(err)
	}
	if kept.Run.ID != "first" || kept.Run.Status != rack.Imaging || kept.Run.Uncertain("mgmt-1") || !kept.Run.Uncertain("tor-1") || !kept.Run.Uncertain("server-01") || !kept.Run.Answered("o1") {
		t.Errorf("%+v", kept.Run)
	}
	if name := kept.Journal.Meta().Run; name == "first" || name != h.got[0].GetJournal() {
		t.Errorf("its journal is %s, and %s was claimed", name, h.got[0].GetJournal())
	}
	if kept.Carried.Simulated != nil {
		t.Error("the way to the rack came from the lost agent")
	}
	if e, err := kept.Dir.ReadEpoch(); err != nil || e.Number != 7 {
		t.Errorf("%+v %v", e, err)
	}
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}

	// It is this machine's now, until another takes it over in turn.
	if _, err := Adopt(t.Context(), o); err == nil || !strings.Contains(err.Error(), "this machine is its agent already") {
		t.Error(err)
	}
	if err := kept.Dir.WriteEpoch(state.Epoch{Number: 7, Superseded: &state.Successor{Epoch: 8}}); err != nil {
		t.Fatal(err)
	}
	a, err = Adopt(t.Context(), o)
	if err != nil || a.Epoch != 8 || a.Aside == "" {
		t.Fatalf("%+v %v", a, err)
	}
	if r, err := journal.Verify(a.Aside); err != nil || r.Events != 3 {
		t.Errorf("what stood there before: %+v %v", r, err)
	}
}

// TestAdoptARackThatWasNeverBegun: its agent waits for a plan.
func TestAdoptARackThatWasNeverBegun(t *testing.T) {
	h, o := newHolder(t)
	h.plan, h.events = nil, nil
	if a, err := Adopt(t.Context(), o); err != nil || a.Last != 0 {
		t.Fatalf("%+v %v", a, err)
	}
	kept, err := OpenWaiting(o.Home.Rack("r4"), "r4")
	if err != nil || kept.Carried != nil {
		t.Fatal(kept, err)
	}
	if err := kept.Close(); err != nil {
		t.Error(err)
	}
}

// TestAdoptIsRefused: nothing of it is left, and what stands there stays.
func TestAdoptIsRefused(t *testing.T) {
	alive := func(context.Context, Lost) (string, error) { return "another agent (process 7) is at work on it", nil }
	for name, c := range map[string]struct {
		change func(h *holder, o *AdoptOptions)
		says   string
		claims int
	}{
		"alive": {func(_ *holder, o *AdoptOptions) { o.Living = alive }, "another agent (process 7) is at work on it. Nothing was changed", 0},
		"comes to life": {func(h *holder, o *AdoptOptions) {
			o.Living = func(ctx context.Context, lost Lost) (string, error) {
				if len(h.got) > 0 {
					return alive(ctx, lost)
				}
				return "", nil
			}
		}, "is at work on it. Epoch 7 was taken", 1},
		"cut short":         {func(h *holder, _ *AdoptOptions) { h.short = true }, "ended after event 2 of 3", 1},
		"torn":              {func(h *holder, _ *AdoptOptions) { h.torn = 2 }, "gone", 1},
		"a gap":             {func(h *holder, _ *AdoptOptions) { h.events = append(h.events[:1], h.events[2:]...) }, "event 3 of rack", 1},
		"no plan":           {func(h *holder, _ *AdoptOptions) { h.plan = nil }, "what it carries out the coordinator does not say", 1},
		"of another rack":   {func(h *holder, _ *AdoptOptions) { h.events[2].Rack = "r5" }, `of rack "r5" came`, 1},
		"plan of another":   {func(h *holder, _ *AdoptOptions) { h.plan = otherPlan(t) }, "is of rack", 1},
		"cannot look there": {func(_ *holder, o *AdoptOptions) { o.Living = cannotLook }, "look for a living agent: no cable", 0},
	} {
		t.Run(name, func(t *testing.T) {
			h, o := newHolder(t)
			c.change(h, &o)
			if _, err := Adopt(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.says) || len(h.got) != c.claims {
				t.Errorf("%v after %d claims, want %s after %d", err, len(h.got), c.says, c.claims)
			}
			if racks, err := o.Home.Racks(); err != nil || len(racks) != 0 {
				t.Errorf("%v is there, %v", racks, err)
			}
			if left, err := os.ReadDir(string(o.Home) + "/adopting"); err == nil && len(left) != 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
	_, o := newHolder(t)
	o.Living, o.Force = alive, true
	if _, err := Adopt(t.Context(), o); err != nil {
		t.Error("with --force:", err)
	}
}

// TestAdoptLooksWhereThePlanSays: whoever looks for a living agent is told by which plan,
// and from where the lost one answered.
func TestAdoptLooksWhereThePlanSays(t *testing.T) {
	_, o := newHolder(t)
	looks := 0
	o.Living = func(_ context.Context, lost Lost) (string, error) {
		looks++
		if lost.Rack == nil || lost.Rack.Name != "r4" || fmt.Sprint(lost.Servers, lost.Siblings) != "[192.168.104.254] [192.168.105.254]" {
			t.Errorf("%+v", lost)
		}
		return "", nil
	}
	if _, err := Adopt(t.Context(), o); err != nil || looks != 2 {
		t.Errorf("%d looks: %v", looks, err)
	}
}

// TestLivingCannotLook: where nobody can be heard, that is said.
func TestLivingCannotLook(t *testing.T) {
	at := func(name string) Lost { return Lost{Rack: &rack.Rack{Name: "r4", Agent: rack.Agent{Interface: name}}} }
	for name, c := range map[string]struct {
		lost Lost
		says string // empty: nobody is there
	}{
		"never begun":       {Lost{}, ""},
		"no interface":      {at(""), "the plan of rack r4 names no interface"},
		"no such interface": {at("rr-none"), "rr-none"},
	} {
		who, err := Living(t.Context(), c.lost, nil, time.Millisecond)
		if who != "" || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q %v", name, who, err)
		}
	}
}

func cannotLook(context.Context, Lost) (string, error) { return "", errors.New("no cable") }

func otherPlan(t *testing.T) []byte {
	t.Helper()
	b, err := resolved(t, example).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
