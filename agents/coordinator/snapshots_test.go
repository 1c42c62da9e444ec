package coordinator

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// logWithRacks is a log with events of two racks.
func logWithRacks(t *testing.T) *fleetlog.Log {
	t.Helper()
	log, err := fleetlog.Open(t.Context(), fleetlog.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"r1", "r2"} {
		if _, err := log.Claim(t.Context(), name, "j", fleetlog.Head{}); err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(5) {
			e := messages.FromEvent(rack.Event{Seq: seq + 1, Time: time.Now(), Rack: name, Kind: rack.RackResumed})
			if _, err := log.Append(t.Context(), name, 1, []*messages.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return log
}

// TestASnapshotMustFit: one that is torn, of another build, of another log or of
// another rack is as none.
func TestASnapshotMustFit(t *testing.T) {
	log, other := logWithRacks(t), logWithRacks(t)
	newest := must(log.Newest(t.Context()))
	run := rack.NewRun(plan(t, "r1").Rack, platform.All()).Snapshot()
	at := func(name string) actors.Saved {
		n := newest[name]
		return actors.Saved{Rack: name, Position: n.Position, Time: n.Time, Epoch: 1, Followed: n.Seq, PlanHash: "aa", Status: rack.Idle, Run: run}
	}
	edit := func(fn func(b []byte) []byte) func(t *testing.T, s *snapshots) {
		return func(t *testing.T, s *snapshots) {
			if err := os.WriteFile(s.file("r1"), fn(must(os.ReadFile(s.file("r1")))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range []struct {
		name  string
		saved func(r1 *actors.Saved)
		spoil func(t *testing.T, s *snapshots)
		log   *fleetlog.Log
		fits  bool
	}{
		{name: "as it was written", fits: true},
		{name: "older than the log", saved: func(r1 *actors.Saved) { n := second(t, log); r1.Position, r1.Time, r1.Followed = n.Position, n.Time, 1 }, fits: true},
		{name: "older than the log, of another time", saved: func(r1 *actors.Saved) { r1.Position-- }},
		{name: "a message that another log took", saved: func(r1 *actors.Saved) { r1.Time = r1.Time.Add(time.Nanosecond) }},
		{name: "newer than the log", saved: func(r1 *actors.Saved) { r1.Position += 100 }},
		{name: "with events that the log does not hold", saved: func(r1 *actors.Saved) { r1.Followed++ }},
		{name: "of another log", log: other},
		{name: "of another build", spoil: func(_ *testing.T, s *snapshots) { s.build = "b2" }},
		{name: "of no build", spoil: func(_ *testing.T, s *snapshots) { s.build = "" }},
		{name: "torn", spoil: edit(func(b []byte) []byte { return b[:len(b)/2] })},
		{name: "empty", spoil: edit(func([]byte) []byte { return nil })},
		{name: "a bit is wrong", spoil: edit(func(b []byte) []byte { b[len(b)-9] ^= 1; return b })},
		{name: "a bit of its head is wrong", spoil: edit(func(b []byte) []byte { b[90] ^= 1; return b })},
		{name: "of another rack", spoil: func(t *testing.T, s *snapshots) {
			if err := os.Rename(s.file("r2"), s.file("r1")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &snapshots{dir: filepath.Join(t.TempDir(), "s"), build: "b1", logger: slog.New(slog.DiscardHandler)}
			r1, r2 := at("r1"), at("r2")
			if x.saved != nil {
				x.saved(&r1)
			}
			for _, saved := range []*actors.Saved{&r1, &r2} {
				if err := s.save(saved); err != nil {
					t.Fatal(err)
				}
			}
			if x.spoil != nil {
				x.spoil(t, s)
			}
			in := log
			if x.log != nil {
				in = x.log
			}
			const end = 12
			k, from, err := s.known(t.Context(), in)
			if err != nil || len(k.Racks) != 2 {
				t.Fatalf("%+v, %v", k, err)
			}
			got := k.Racks[slices.IndexFunc(k.Racks, func(k actors.KnownRack) bool { return k.Rack == "r1" })]
			if (got.Saved != nil) != x.fits || got.Due != 5 {
				t.Fatalf("known: %+v", got)
			}
			switch {
			case !x.fits && from != 0:
				t.Errorf("the log is followed behind message %d", from)
			case x.fits && from != min(r1.Position, end) && r1.Position != newest["r1"].Position:
				t.Errorf("the log is followed behind message %d, what was saved ends with message %d", from, r1.Position)
			case x.fits && r1.Position == newest["r1"].Position && from != end:
				t.Errorf("the log is followed behind message %d of %d, and all was saved", from, end)
			}
			if x.fits {
				if back, err := s.run(got.Saved); err != nil || len(back.Devices) != len(run.Devices) {
					t.Errorf("its run: %v, %v", back, err)
				}
			}
		})
	}
}

// second is the message with the first event of r1.
func second(t *testing.T, log *fleetlog.Log) (n fleetlog.Newest) {
	t.Helper()
	done := fmt.Errorf("found")
	err := log.Follow(t.Context(), 0, func(entries []fleetlog.Entry) error {
		for _, e := range entries {
			if e.Rack == "r1" && len(e.Events) > 0 {
				n.Position, n.Time = e.Position, e.Time
				return done
			}
		}
		return nil
	})
	if n.Position == 0 {
		t.Fatal(err)
	}
	return n
}

// TestSnapshotsAreTidied: what is left of a write that was cut off, and of racks that
// are not of this log.
func TestSnapshotsAreTidied(t *testing.T) {
	log := logWithRacks(t)
	s := &snapshots{dir: t.TempDir(), build: "b1", logger: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"r1", "r9"} {
		if err := s.save(&actors.Saved{Rack: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, strings.Replace(snapshotTemp, "*", "17", 1)), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.known(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	if files := must(os.ReadDir(s.dir)); len(files) != 1 || files[0].Name() != "r1"+snapshotSuffix {
		t.Errorf("left: %v", files)
	}
	s.close()
	if err := s.save(&actors.Saved{Rack: "r1"}); err == nil {
		t.Error("it was written after the coordinator had ended")
	}
}

// TestARestartTellsTheSame: on what was saved, on a part of it, and on none of it;
// and what a coordinator saves is what it is started on.
func TestARestartTellsTheSame(t *testing.T) {
	dir := home(t, false)
	s := serve(t, dir, "", "127.0.0.1:0")
	hashes := map[string]string{}
	for _, name := range []string{"r1", "r2", "r3"} {
		hashes[name] = s.put(name)
		a := s.agent(name, nil, nil, nil)
		if name != "r3" { // it is never begun
			a.add(rack.Event{Kind: rack.RackStarted, Detail: rack.Detail{PlanHash: hashes[name], Run: "x"}})
			a.add(findings(300)...)
			a.add(rack.Event{Kind: rack.DeviceReady, Device: "mgmt-1", Role: rack.ManagementSwitch})
			until(t, "all is in the log", func() bool { return s.rack(name).GetLastSeq() == 302 })
		}
		until(t, "the agent is connected", func() bool { return s.connected(name) })
		a.stop()
		until(t, "the agent is away", func() bool { return !s.connected(name) })
	}
	tells := func(s *served) map[string]*messages.FleetRack {
		out := map[string]*messages.FleetRack{}
		until(t, "the racks and their plans are read", func() bool {
			return s.fleet().GetStatus() != actors.Reading &&
				!slices.ContainsFunc(s.fleet().GetRacks(), func(r *messages.FleetRack) bool { return r.GetPlanHash() == "" })
		})
		for _, r := range s.fleet().GetRacks() {
			r.Agent.LastHeard, r.Agent.Version, r.Agent.MetricsAddress = nil, "", "" // by the word of the agent, not of the log
			out[r.GetName()] = r
		}
		return out
	}
	want := tells(s)
	s.stop()
	saved := snapshots{dir: filepath.Join(dir, "snapshots"), build: "test", logger: slog.New(slog.DiscardHandler)}
	for _, x := range []struct {
		name  string
		spoil func() error
		all   bool // was saved and fits
	}{
		{"on all that was saved", func() error { return nil }, true},
		{"on a part of it", func() error { return os.Remove(saved.file("r2")) }, false},
		{"on what is torn", func() error { return os.Truncate(saved.file("r1"), 700) }, false},
		{"on nothing", func() error { return os.RemoveAll(saved.dir) }, false},
		{"on what the one before has saved", func() error { return nil }, true},
	} {
		if err := x.spoil(); err != nil {
			t.Fatal(err)
		}
		log, err := fleetlog.Open(t.Context(), fleetlog.Options{Dir: filepath.Join(dir, "log")})
		if err != nil {
			t.Fatal(err)
		}
		end := must(log.Last(t.Context()))
		if _, from, err := saved.known(t.Context(), log); err != nil || (from == end) != x.all {
			t.Errorf("%s: the log would be followed from %d, it ends at %d: %v", x.name, from, end, err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		s := serve(t, dir, "", "127.0.0.1:0")
		if got := tells(s); !maps.EqualFunc(got, want, func(a, b *messages.FleetRack) bool { return proto.Equal(a, b) }) {
			t.Errorf("%s, it tells\n%v, and told\n%v", x.name, got, want)
		}
		s.stop()
	}
}
