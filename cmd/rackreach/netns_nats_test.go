//go:build netns

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/rack"
)

const natsPort = 4222

// within runs fn in a network namespace: sockets that it makes stay in there.
func within(namespace string, fn func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	other, err := os.Open(filepath.Join("/run/netns", namespace))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if err := unix.Setns(int(other.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)) }()
	return fn()
}

// hostDialer dials from a host.
type hostDialer struct{ h *host }

// Dial implements nats.CustomDialer.
func (d hostDialer) Dial(network, address string) (c net.Conn, err error) {
	err = within(d.h.in, func() error {
		c, err = net.DialTimeout(network, address, 2*time.Second)
		return err
	})
	return c, err
}

// cluster is three NATS servers, each on a host of its own.
type cluster struct {
	s     *site
	hosts []*host
	nodes []*process
	url   string
}

func newCluster(s *site) *cluster {
	s.t.Helper()
	program := filepath.Join(s.dir, "nats-server")
	s.build(program, "github.com/nats-io/nats-server/v2")
	c := &cluster{s: s}
	var urls, routes []string
	for i := 1; i <= 3; i++ {
		a := fmt.Sprintf("10.99.0.%d", 30+i)
		urls, routes = append(urls, fmt.Sprintf("nats://%s:%d", a, natsPort)), append(routes, fmt.Sprintf("nats://%s:6222", a))
		c.hosts = append(c.hosts, s.host(fmt.Sprintf("n%d", i), a))
	}
	c.url = strings.Join(urls, ",")
	for _, h := range c.hosts {
		config := filepath.Join(string(h.home), "nats.conf")
		text := fmt.Sprintf("server_name: %s\nlisten: \"%s:%d\"\njetstream { store_dir: %q, sync_interval: always }\ncluster { name: rackreach, listen: \"%s:6222\", routes: [%s] }\n",
			h.name, h.address, natsPort, filepath.Join(string(h.home), "js"), h.address, strings.Join(routes, ", "))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		c.nodes = append(c.nodes, h.start(program, "--config", config))
	}
	s.until(nsSoon, "the NATS cluster has a leader", func() bool {
		return c.ask(func(ctx context.Context, js jetstream.JetStream) error { _, err := js.AccountInfo(ctx); return err }) == nil
	})
	return c
}

// ask asks the cluster.
func (c *cluster) ask(fn func(context.Context, jetstream.JetStream) error) error {
	conn, err := nats.Connect(c.url, nats.SetCustomDialer(hostDialer{c.s.spareHost()}), nats.Timeout(2*time.Second))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return fn(ctx, js)
}

// leader is which of the nodes leads the stream of events.
func (c *cluster) leader() (n int) {
	c.s.t.Helper()
	n = -1
	c.s.until(nsSoon, "the stream of events has a leader", func() bool {
		return c.ask(func(ctx context.Context, js jetstream.JetStream) error {
			stream, err := js.Stream(ctx, "RACKREACH_EVENTS")
			if err != nil {
				return err
			}
			for i, h := range c.hosts {
				if info := stream.CachedInfo(); info.Cluster != nil && info.Cluster.Leader == h.name {
					n = i
				}
			}
			return nil
		}) == nil && n >= 0
	})
	return n
}

// spareHost is a host that only looks on.
func (s *site) spareHost() *host {
	s.t.Helper()
	if h := s.hosts["look"]; h != nil {
		return h
	}
	return s.host("look", "10.99.0.40")
}

// TestFleetFaultCluster has the log on three NATS servers and two coordinators at
// work on it. The server that leads is killed in mid-imaging, then the coordinator
// that the agents are connected to; the other one takes over its address.
func TestFleetFaultCluster(t *testing.T) {
	t.Parallel()
	s := newCenter(t)
	s.spareHost()
	c := newCluster(s)
	const secondAddress = "10.99.0.2"
	s.flags, s.names = []string{"--nats", c.url}, []string{secondAddress}
	s.found(2, "12")
	r := s.racks[0]

	// The other coordinator has the same authority; its own address is not in use by
	// agents until it takes over.
	other := s.host("c2", secondAddress)
	if err := os.CopyFS(other.home.CoordinatorDir(), os.DirFS(s.center.home.CoordinatorDir())); err != nil {
		t.Fatal(err)
	}
	second := other.start(s.binary, "coordinator", "--listen", ":"+nsPort, "--nats", c.url)
	second.says("coordinator, serving at")

	// Another machine that is to take rack 1 over is told there that the agent lives,
	// which is connected to the first.
	thief := r.enrolled(s.host("thief", nsSpare), "--adopt", "--coordinator", "https://"+secondAddress+":"+nsPort)
	if out, code := thief.wait(nsSoon); code == exitReady || !strings.Contains(out, "the agent of rack r1 lives: it is connected at this moment (epoch 1") {
		t.Errorf("taking over a rack whose agent lives ended with %d: %s", code, out)
	}

	s.apply()
	r.busy("mgmt-1", rack.Installation)
	n := c.leader()
	before := r.seen().GetLastSeq()
	c.nodes[n].kill()
	at := time.Now()
	took := s.reaches(time.Minute, "the log takes events again", func() bool { return r.seen().GetLastSeq() > before })
	first := r.caughtUp(time.Minute)
	s.until(nsSoon, "the other coordinator shows the same", func() bool { return looked(other.home.Coordinator(), r.name).GetLastSeq() >= before })
	election := time.Since(at)
	c.nodes[n] = c.hosts[n].start(filepath.Join(s.dir, "nats-server"), "--config", filepath.Join(string(c.hosts[n].home), "nats.conf"))

	s.until(nsPatience, "rack 1 has gone on", func() bool { return r.device("tor-1") == string(rack.Installation) })
	s.center.unplug()
	s.coordinator.kill()
	moved := time.Now()
	s.ip("-n", other.in, "addr", "add", nsCoordinator+"/24", "dev", "eth0")
	for _, x := range s.racks { // what takes an address over announces it by ARP
		s.ip("-n", x.host.in, "neigh", "flush", "dev", "eth0")
	}
	s.center, s.coordinator = other, second
	for _, x := range s.racks {
		s.until(time.Minute, x.name+" is connected to the other coordinator", func() bool { return x.seen().GetAgent().GetConnected() })
		x.caughtUp(time.Minute)
	}
	over := time.Since(moved)
	s.completed()
	s.judge()
	t.Logf("RESULT leader of the NATS cluster killed: the next event was durable after %s, all caught up %s later (%s in all); coordinator killed and its address taken over by the other: both agents connected and caught up after %s",
		took.Round(10*time.Millisecond), first.Round(10*time.Millisecond), election.Round(10*time.Millisecond), over.Round(10*time.Millisecond))
}
