//go:build bench

package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// The fan-out of an image to a rack: clients on links of 1 Gb/s, the agent on one, too.
const (
	fanOutClients = 20
	fanOutRounds  = 3
	fanOutAgent   = "10.9.1.1"
	fanOutLink    = 1e9 / 8 // bytes a second, as tbf counts them: with the headers of frames
)

// fanOut is the time in which all clients have their image, to the least that unicast
// takes (median): the agent's link carries all of it, each client's link its own, the
// agent's cores do the work. Headers are not in the formula; with them, TCP in frames of
// 1514 bytes cannot be below 1.05.
func (b *imagesBench) fanOut() float64 {
	b.t.Helper()
	needs(b.t, "tc", "iproute2")
	agent := b.host("agent", fanOutAgent)
	b.shape(agent)
	var clients []*host
	for i := range fanOutClients {
		c := b.host(fmt.Sprintf("node%02d", i+1), fmt.Sprintf("10.9.1.%d", i+11))
		b.shape(c)
		clients = append(clients, c)
	}
	var ratios []float64
	for round := range fanOutRounds {
		s := b.ours(agent, fanOutAgent)
		x, first := b.fetchAll(s, clients)
		b.stop(s)
		all, cores := float64(x.bytes), float64(runtime.NumCPU())
		least := max(all/fanOutLink, all/fanOutClients/fanOutLink, all/1e9*x.perGB()/cores)
		ratios = append(ratios, x.took.Seconds()/least)
		fmt.Printf("round %d, %d clients on 1 Gb/s each, %d MiB: the first has it after %.2f s, all after %.2f s, at least %.2f s: %.3f; %.3f CPU s/GB\n",
			round+1, fanOutClients, imageMiB, first.Seconds(), x.took.Seconds(), least, ratios[round], x.perGB())
	}
	return median(ratios)
}

// shape makes a host's cable one of 1 Gb/s, both ways.
func (b *imagesBench) shape(h *host) {
	b.t.Helper()
	for in, dev := range map[string]string{h.in: "eth0", b.lan(): h.name} {
		b.ip("netns", "exec", in, "tc", "qdisc", "add", "dev", dev, "root", "tbf", "rate", "1gbit", "burst", "256kb", "latency", "50ms")
	}
}

// fetchAll fetches the image to all clients at once.
func (b *imagesBench) fetchAll(s *process, clients []*host) (x fetched, first time.Duration) {
	b.t.Helper()
	b.ticket = 0
	var all sync.WaitGroup
	took, errs := make([]time.Duration, len(clients)), make([]error, len(clients))
	began, before := time.Now(), b.cpuOf(s)
	for i, c := range clients {
		path := b.path("ours", "image")
		all.Go(func() {
			errs[i] = get(c, fanOutAgent, path)
			took[i] = time.Since(began)
		})
	}
	all.Wait()
	x = fetched{int64(len(clients)) * imageMiB << 20, time.Since(began), b.cpuOf(s) - before}
	for i, err := range errs {
		if err != nil {
			b.t.Fatalf("%s: %v", filepath.Base(clients[i].in), err)
		}
	}
	return x, slices.Min(took)
}
