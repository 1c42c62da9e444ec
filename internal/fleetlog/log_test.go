package fleetlog

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// TestMain lets many tests run at once: they wait for disks and elections.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what a test waits for; it is no measure of speed.
const patience = time.Minute

// fullLimit bounds how long a writer waits for a server that cannot write.
const fullLimit = time.Second

func events(rack string, from, n int) (out []*messages.Event) {
	for i := range n {
		out = append(out, &messages.Event{Seq: uint64(from + i), Rack: rack, Kind: "observed", Device: fmt.Sprintf("d-%d", (from+i)%7),
			Time: timestamppb.New(time.Unix(int64(1000+from+i), 0)), Detail: &messages.EventDetail{Reason: strings.Repeat("x", 40)}})
	}
	return out
}

// open opens a log that the test closes.
func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// cluster is three servers on loopback, each in this process, with stores on disk.
type cluster struct {
	servers []*server.Server
	url     string
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{}
	var routes, urls []string
	var ports, clientPorts []int
	for range 3 {
		ports, clientPorts = append(ports, freePort(t)), append(clientPorts, freePort(t))
	}
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	for i := range 3 {
		s, err := server.NewServer(&server.Options{ServerName: fmt.Sprintf("n%d", i+1), Host: "127.0.0.1", Port: clientPorts[i], JetStream: true,
			StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}, Routes: server.RoutesFromStr(strings.Join(routes, ","))})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		c.servers = append(c.servers, s)
		urls = append(urls, s.ClientURL())
	}
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	})
	c.url = strings.Join(urls, ",")
	until(t, "the cluster has a leader", func() bool {
		for _, s := range c.servers {
			if s.JetStreamIsLeader() && s.JetStreamIsCurrent() && len(s.JetStreamClusterPeers()) == len(c.servers) {
				return true
			}
		}
		return false
	})
	return c
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// everywhere runs a test on an embedded log, and on one in a cluster of three.
func everywhere(t *testing.T, fn func(t *testing.T, l *Log)) {
	t.Run("embedded", func(t *testing.T) { fn(t, open(t, Options{Dir: t.TempDir()})) })
	t.Run("cluster", func(t *testing.T) { fn(t, open(t, Options{URL: newCluster(t).url})) })
}

func claimed(t testing.TB, l *Log, rack, journal string) Head {
	t.Helper()
	h, err := l.Head(t.Context(), rack)
	if err == nil {
		h, err = l.Claim(t.Context(), rack, journal, h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// holds checks that the log holds the events of a rack up to one, once, in order.
func holds(t testing.TB, l *Log, rack string, last int) {
	t.Helper()
	next := uint64(1)
	for {
		got, err := l.Read(t.Context(), rack, next, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		for _, e := range got {
			if e.GetSeq() != next || e.GetRack() != rack {
				t.Fatalf("event %d of %s where event %d is due", e.GetSeq(), e.GetRack(), next)
			}
			next++
		}
	}
	if int(next-1) != last {
		t.Fatalf("the log of %s ends with event %d, not %d", rack, next-1, last)
	}
}

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		if h, err := l.Head(ctx, "r1"); err != nil || h.Epoch != 0 || h.Seq != 0 {
			t.Fatalf("%+v %v", h, err)
		}
		if _, err := l.Append(ctx, "r1", 1, events("r1", 1, 1)); !errors.Is(err, ErrFenced) {
			t.Fatalf("without a claim: %v", err)
		}
		claimed(t, l, "r1", "j1")
		claimed(t, l, "r2", "j9")
		if n, err := l.Append(ctx, "r1", 1, events("r1", 1, 2*maxBatch+7)); err != nil || n != 2*maxBatch+7 {
			t.Fatalf("%d %v", n, err)
		}
		if n, err := l.Append(ctx, "r2", 1, events("r2", 1, 3)); err != nil || n != 3 {
			t.Fatalf("%d %v", n, err)
		}
		// What is there is compared and left out, whole or in part.
		for _, again := range [][2]int{{1, 5}, {2*maxBatch + 7, 1}, {2 * maxBatch, 20}} {
			if _, err := l.Append(ctx, "r1", 1, events("r1", again[0], again[1])); err != nil {
				t.Fatalf("%v: %v", again, err)
			}
		}
		last := 2*maxBatch + 19
		holds(t, l, "r1", last)
		holds(t, l, "r2", 3)
		if _, err := l.Append(ctx, "r1", 1, events("r1", last+2, 1)); !errors.Is(err, ErrGap) {
			t.Errorf("a gap: %v", err)
		}
		hole := append(events("r1", last+1, 1), events("r1", last+3, 1)...)
		if _, err := l.Append(ctx, "r1", 1, hole); !errors.Is(err, ErrGap) {
			t.Errorf("a gap inside: %v", err)
		}
		other := events("r1", 7, 2)
		other[1].Device = "another"
		if _, err := l.Append(ctx, "r1", 1, other); !errors.Is(err, ErrDiverged) {
			t.Errorf("another history: %v", err)
		}
		holds(t, l, "r1", last)
		for _, name := range []string{"", "*", "r1.r2", "r 1", ">", strings.Repeat("x", 200)} {
			if _, err := l.Append(ctx, name, 1, events(name, 1, 1)); err == nil {
				t.Errorf("a rack called %q", name)
			}
		}
	})
}

func TestAClaimFencesTheEpochBeforeIt(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		h := claimed(t, l, "r1", "j1")
		if _, err := l.Append(ctx, "r1", 1, events("r1", 1, 4)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Claim(ctx, "r1", "j2", Head{}); !errors.Is(err, ErrFenced) {
			t.Fatalf("a claim on what was long ago: %v", err)
		}
		// Another coordinator, which knows nothing of this claim, has the old agent.
		second, err := l.Claim(ctx, "r1", "j2", h)
		if err != nil || second.Epoch != 2 || second.Seq != 4 || second.Journal != "j2" {
			t.Fatalf("%+v %v", second, err)
		}
		if _, err := l.Append(ctx, "r1", 1, events("r1", 5, 1)); !errors.Is(err, ErrFenced) {
			t.Fatalf("the old agent writes: %v", err)
		}
		if n, err := l.Append(ctx, "r1", 2, events("r1", 5, 1)); err != nil || n != 5 {
			t.Fatal(n, err)
		}
		holds(t, l, "r1", 5)
	})
}

// TestTwoCoordinators: the old agent is connected to one, the new one to another.
func TestTwoCoordinators(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := open(t, Options{URL: c.url}), open(t, Options{URL: c.url})
	ctx := t.Context()
	claimed(t, a, "r1", "j1")
	if _, err := a.Append(ctx, "r1", 1, events("r1", 1, 4)); err != nil {
		t.Fatal(err)
	}
	// The agent moves to the other coordinator and back; either takes it up.
	if _, err := b.Append(ctx, "r1", 1, events("r1", 3, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(ctx, "r1", 1, events("r1", 7, 4)); err != nil {
		t.Fatal(err)
	}
	claimed(t, b, "r1", "j2")
	if _, err := a.Append(ctx, "r1", 1, events("r1", 11, 1)); !errors.Is(err, ErrFenced) {
		t.Fatalf("the old agent writes: %v", err)
	}
	holds(t, a, "r1", 10)
	holds(t, b, "r1", 10)
}

// TestManyClaimOne: of those who claim a rack at once, one gets it.
func TestManyClaimOne(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		before := claimed(t, l, "r1", "j0")
		var wg sync.WaitGroup
		won := make(chan Head, 8)
		for i := range 8 {
			wg.Go(func() {
				h, err := l.Claim(context.Background(), "r1", fmt.Sprintf("j%d", i+1), before)
				switch {
				case err == nil:
					won <- h
				case !errors.Is(err, ErrFenced):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d got it", len(won))
		}
		h, err := l.Head(t.Context(), "r1")
		if w := <-won; err != nil || h.Journal != w.Journal || h.Epoch != 2 {
			t.Errorf("%+v %+v %v", h, w, err)
		}
	})
}

func TestFollowSeesAllOnce(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		const racks, each = 5, 60
		for r := range racks {
			claimed(t, l, fmt.Sprintf("r%d", r), "j")
		}
		var wg sync.WaitGroup
		for r := range racks {
			wg.Go(func() {
				name := fmt.Sprintf("r%d", r)
				for i := 1; i <= each; i += 3 {
					if _, err := l.Append(context.Background(), name, 1, events(name, i, 3)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		next, seen, place := map[string]uint64{}, 0, uint64(0)
		err := l.Follow(ctx, 0, func(entries []Entry) error {
			for _, e := range entries {
				if e.Position <= place {
					return fmt.Errorf("place %d behind place %d", e.Position, place)
				}
				place = e.Position
				for _, x := range e.Events {
					next[e.Rack]++
					seen++
					if x.GetSeq() != next[e.Rack] {
						return fmt.Errorf("event %d of %s where %d is due", x.GetSeq(), e.Rack, next[e.Rack])
					}
				}
			}
			if seen == racks*each {
				cancel()
			}
			return nil
		})
		wg.Wait()
		if seen != racks*each || !errors.Is(err, context.Canceled) {
			t.Fatalf("%d events, %v", seen, err)
		}
		last, err := l.Last(t.Context())
		if err != nil || last != place {
			t.Errorf("%d %d %v", last, place, err)
		}
	})
}

func TestOrdersAreKeptUntilAnswered(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		for _, id := range []string{"a", "b", "a", "c", "b"} {
			if err := l.Order(ctx, &messages.Order{Rack: "r1", Id: id, Verb: "halt"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Answered(ctx, "r1", "b"); err != nil {
			t.Fatal(err)
		}
		if err := l.Answered(ctx, "r1", "never"); err != nil {
			t.Fatal(err)
		}
		following, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var got []string
		err := l.FollowOrders(following, func(o *messages.Order) error {
			got = append(got, o.GetId())
			if o.GetId() == "c" {
				return l.Order(ctx, &messages.Order{Rack: "r2", Id: "d"})
			}
			if o.GetId() == "d" {
				cancel()
			}
			return nil
		})
		if fmt.Sprint(got) != "[a c d]" {
			t.Errorf("%v %v", got, err)
		}
		for _, id := range []string{"", "a.b", "*"} {
			if err := l.Order(ctx, &messages.Order{Rack: "r1", Id: id}); err == nil {
				t.Errorf("an order called %q", id)
			}
		}
	})
}

func TestTables(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		tb, err := l.Table(ctx, "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tb.Get(ctx, "k"); !errors.Is(err, ErrNone) {
			t.Errorf("%v", err)
		}
		if keys, err := tb.Keys(ctx); err != nil || len(keys) > 0 {
			t.Errorf("%v %v", keys, err)
		}
		big := []byte(strings.Repeat("0123456789", 200_000))
		rev, err := tb.Update(ctx, "k", big, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tb.Update(ctx, "k", []byte("x"), 0); !errors.Is(err, ErrConflict) {
			t.Errorf("made twice: %v", err)
		}
		if _, err := tb.Update(ctx, "k", []byte("x"), rev+7); !errors.Is(err, ErrConflict) {
			t.Errorf("another revision: %v", err)
		}
		v, got, err := tb.Get(ctx, "k")
		if err != nil || string(v) != string(big) || got != rev {
			t.Errorf("%d bytes, %d, %v", len(v), got, err)
		}
		watching, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var told []string
		err = tb.Watch(watching, func(key string, value []byte, _ uint64) error {
			told = append(told, fmt.Sprintf("%s:%d", key, len(value)))
			switch len(told) {
			case 1:
				return tb.Delete(ctx, "k")
			case 2:
				cancel()
			}
			return nil
		})
		if fmt.Sprint(told) != fmt.Sprintf("[k:%d k:0]", len(big)) {
			t.Errorf("%v %v", told, err)
		}
		if _, err := tb.Update(ctx, "k", nil, 0); err != nil {
			t.Errorf("made anew: %v", err)
		}
	})
}

func TestARestartKeepsAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for life := range 3 {
		l, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			claimed(t, l, "r1", "j1")
		}
		holds(t, l, "r1", 40*life)
		if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another coordinator has it open") {
			t.Errorf("two at once: %v", err)
		}
		if _, err := l.Append(t.Context(), "r1", 1, events("r1", 40*life+1, 40)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	if l, err := Open(t.Context(), Options{URL: fmt.Sprintf("nats://127.0.0.1:%d", freePort(t))}); err == nil || !strings.Contains(err.Error(), "--nats") {
		t.Errorf("%v %v", l, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(file, "x")}); err == nil {
		t.Error("a directory below a file")
	}
}

// TestTheLeaderDies while many racks are written: what was acknowledged is there,
// once, in order, and it goes on without it.
func TestTheLeaderDies(t *testing.T) {
	t.Parallel()
	const racks, each = 12, 30
	c := newCluster(t)
	l := open(t, Options{URL: c.url})
	info, err := l.events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var leader *server.Server
	for _, s := range c.servers {
		if s.Name() == info.Cluster.Leader {
			leader = s
		}
	}
	if leader == nil {
		t.Fatalf("no server is called %q", info.Cluster.Leader)
	}
	var writers sync.WaitGroup
	half := make(chan struct{}, racks)
	for r := range racks {
		name := fmt.Sprintf("r%d", r)
		claimed(t, l, name, "j1")
		writers.Go(func() {
			acknowledged := 0
			for end := time.Now().Add(patience); acknowledged < 3*each; {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				got, err := l.Append(ctx, name, 1, events(name, acknowledged+1, 3))
				cancel()
				switch {
				case errors.Is(err, ErrGap) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrFenced) || time.Now().After(end):
					t.Errorf("%s after event %d: %v", name, acknowledged, err)
					half <- struct{}{}
					return
				case err == nil && int(got) != acknowledged+3:
					t.Errorf("%s: %d acknowledged, %d were", name, got, acknowledged+3)
				case err == nil:
					if acknowledged += 3; acknowledged == 3*each/2 {
						half <- struct{}{}
					}
				}
			}
		})
	}
	for range racks {
		<-half
	}
	leader.Shutdown()
	writers.Wait()
	for r := range racks {
		holds(t, l, fmt.Sprintf("r%d", r), 3*each)
	}
}

// TestNames: what is a rack for internal/rack is one here, and nothing else is.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"r1", "a", "rack-1", "1", strings.Repeat("x", maxRack), "", "R1", "r_1", "-r", "r-", "r.1", "r 1", "*", ">", "r\n", "ä", "r1\x00", strings.Repeat("x", maxRack+1)} {
		fits := true
		for _, p := range rack.Validate(&rack.Rack{Name: name}, nil) {
			fits = fits && p.Where.Field != "name"
		}
		if err := checkRack(name); (err == nil) != fits {
			t.Errorf("%q: %v, but as a rack it fits: %v", name, err, fits)
		}
	}
	for id, fits := range map[string]bool{"a": true, "0190-ab_c": true, "user:1/x": true, "": false, "a.b": false, "*": false, "a>": false, "a b": false, "a\n": false, "\x7f": false, "ü": false, strings.Repeat("x", maxOrder+1): false} {
		if err := checkOrder("r1", id); (err == nil) != fits {
			t.Errorf("order %q: %v", id, err)
		}
	}
}

// TestWhoIsFenced is told by whom.
func TestWhoIsFenced(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	first := claimed(t, l, "r1", "j1")
	if again, err := l.Claim(t.Context(), "r1", "j1", Head{}); err != nil || again.Epoch != 1 || again.Claimed.IsZero() || !again.Claimed.Equal(first.Claimed) {
		t.Errorf("the same claim again: %+v %v", again, err)
	}
	claimed(t, l, "r1", "j2")
	_, err := l.Append(t.Context(), "r1", 1, events("r1", 1, 1))
	var f *Fenced
	if !errors.As(err, &f) || f.Epoch != 2 || f.Journal != "j2" || !errors.Is(err, ErrFenced) {
		t.Errorf("%v", err)
	}
}

// TestReadFromAnywhere: also where nobody read before, among other racks.
func TestReadFromAnywhere(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	for _, r := range []string{"r1", "r2", "r3"} {
		claimed(t, l, r, "j")
	}
	const last = 60
	for i := 1; i <= last; i += 4 {
		for _, r := range []string{"r1", "r2"} {
			if _, err := l.Append(t.Context(), r, 1, events(r, i, 4)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 29 {
			claimed(t, l, "r3", "other")
		}
	}
	for from := 1; from <= last+2; from++ {
		for _, limit := range []int{0, 1, 5, 100} {
			l.hints.put("r1", 0, 0) // at least one, of nobody
			clear(l.hints.at)
			got, err := l.Read(t.Context(), "r1", uint64(from), limit)
			if want := max(0, min(limit, last+1-from)); err != nil || len(got) != want || want > 0 && got[0].GetSeq() != uint64(from) {
				t.Fatalf("%d from %d: %d events, %v", limit, from, len(got), err)
			}
		}
	}
}

// TestOneOfManyUpdates wins; the others are told.
func TestOneOfManyUpdates(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		tb, err := l.Table(t.Context(), "race")
		if err != nil {
			t.Fatal(err)
		}
		for _, revision := range []uint64{0, 1} {
			var wg sync.WaitGroup
			won := make(chan uint64, 8)
			for i := range 8 {
				wg.Go(func() {
					rev, err := tb.Update(context.Background(), "k", []byte{byte(i)}, revision)
					switch {
					case err == nil:
						won <- rev
					case !errors.Is(err, ErrConflict):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d won", len(won))
			}
			if _, rev, err := tb.Get(t.Context(), "k"); err != nil || rev != <-won {
				t.Errorf("%d %v", rev, err)
			}
		}
	})
}

// TestLargeValues: the embedded server takes any; a cluster's limit is named.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		tb, err := l.Table(t.Context(), "large")
		if err != nil {
			t.Fatal(err)
		}
		size := maxValue
		if l.server == nil {
			size = 3 << 19 // more than the cluster's 1 MiB
		}
		noise := make([]byte, size) // nothing makes it smaller
		if _, err := rand.NewChaCha8([32]byte{1}).Read(noise); err != nil {
			t.Fatal(err)
		}
		err = tb.Put(t.Context(), "k", noise)
		if l.server == nil {
			if err == nil || !strings.Contains(err.Error(), "max_payload") {
				t.Errorf("%v", err)
			}
		} else if got, _, errGet := tb.Get(t.Context(), "k"); err != nil || errGet != nil || !bytes.Equal(got, noise) {
			t.Errorf("%v, %d bytes, %v", err, len(got), errGet)
		}
		if err := tb.Put(t.Context(), "k", make([]byte, maxValue+1)); err == nil {
			t.Error("a byte too many")
		}
		if err := tb.Put(t.Context(), "k", make([]byte, size)); err != nil { // zeros
			t.Error(err)
		}
	})
}
