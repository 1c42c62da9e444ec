package fleetlog

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/messages"
)

// TestMain lets two tests run at once, however many cores there are: they wait for
// disks and elections, and a cluster that gets too little time elects for ever.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "2"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

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

// Ports of a cluster, on an address that nothing else listens on.
const clientPort, routePort = 4222, 6222

// loopback is an address of this machine's loopback that no other test listens on, or
// connects from (those have 127.0.0.1): a port that was free a moment ago may be taken.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
}

// lastLines keeps the last lines that servers log.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

var _ server.Logger = (*lastLines)(nil)

func (l *lastLines) add(level, format string, values ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines[max(0, len(l.lines)-199):], time.Now().Format("05.000 ")+level+" "+fmt.Sprintf(format, values...))
}

func (l *lastLines) Noticef(format string, v ...any) { l.add("notice", format, v...) }
func (l *lastLines) Warnf(format string, v ...any)   { l.add("warning", format, v...) }
func (l *lastLines) Errorf(format string, v ...any)  { l.add("error", format, v...) }
func (l *lastLines) Fatalf(format string, v ...any)  { l.add("fatal", format, v...) }
func (l *lastLines) Debugf(string, ...any)           {}
func (l *lastLines) Tracef(string, ...any)           {}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
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
	host := loopback()
	for i := range 3 {
		routes = append(routes, fmt.Sprintf("nats://%s:%d", host, routePort+i))
	}
	said := &lastLines{}
	for i := range 3 {
		s, err := server.NewServer(&server.Options{ServerName: fmt.Sprintf("n%d", i+1), Host: host, Port: clientPort + i, JetStream: true,
			StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true,
			Cluster: server.ClusterOpts{Name: "test", Host: host, Port: routePort + i}, Routes: server.RoutesFromStr(strings.Join(routes, ","))})
		if err != nil {
			t.Fatal(err)
		}
		s.SetLogger(said, false, false)
		s.Start()
		c.servers = append(c.servers, s)
		urls = append(urls, s.ClientURL())
	}
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
		if t.Failed() {
			t.Logf("the last that the servers of the cluster said:\n%s", said)
		}
	})
	c.url = strings.Join(urls, ",")
	until(t, "the cluster has a leader", func() bool {
		for _, s := range c.servers {
			if s.JetStreamIsLeader() && s.JetStreamIsCurrent() {
				return true
			}
		}
		return false
	})
	return c
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
