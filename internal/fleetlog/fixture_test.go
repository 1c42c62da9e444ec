package fleetlog

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/messages"
)

// TestMain lets many tests run at once: they wait for disks and elections.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
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
