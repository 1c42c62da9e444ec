//go:build bench

package main

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// prepare gives the coordinator the plans of n racks, and their agents certificates.
func (b *benched) prepare(n int) {
	each(n, func(name string) {
		r := *b.plan.Rack
		r.Name = name
		p, err := resolved(&r, platform.All())
		if err == nil {
			_, err = put(context.Background(), b.client, p)
		}
		if err == nil {
			var a *connect.Response[messages.CreateEnrollmentResponse]
			if a, err = b.client.Access.CreateEnrollment(context.Background(), connect.NewRequest(&messages.CreateEnrollmentRequest{Rack: name})); err == nil {
				_, err = pki.Enroll(context.Background(), a.Msg.GetToken(), b.home.Identity(name))
			}
		}
		if err != nil {
			b.t.Error(err)
			return
		}
		b.mu.Lock()
		b.hashes[name] = p.Plan.Hash
		b.mu.Unlock()
	})
}

// agents connects the agents of n racks, lets their racks be imaged, each within a
// time, and returns how they leave.
func (b *benched) agents(n int, takes time.Duration) (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var agents, runs sync.WaitGroup
	for i := range n {
		name, log := benchName(i), &tally{Memory: journal.NewMemory()}
		b.mu.Lock()
		b.at[name] = make([]time.Time, len(b.events)+1)
		at, hash := b.at[name], b.hashes[name]
		b.mu.Unlock()
		// Racks do not begin at one moment: as many wait their first tenth as there are.
		offset := takes / 10 * time.Duration(i) / time.Duration(n)
		if takes == 0 {
			b.live(name, hash, at, log, 0, 0)
		} else {
			runs.Go(func() { b.live(name, hash, at, log, offset, takes-takes/10) })
		}
		agents.Go(func() { b.agent(ctx, name, log) })
	}
	runs.Wait()
	return func() { cancel(); agents.Wait() }
}

// agent is the agent's end of the stream, over a connection of its own.
func (b *benched) agent(ctx context.Context, name string, log *tally) {
	id, err := pki.LoadIdentity(b.home.Identity(name))
	var client *bus.Client
	if err == nil {
		var config *tls.Config = id.ClientTLS("127.0.0.1")
		client, err = bus.Dial(b.url, config)
	}
	if err != nil {
		b.t.Error(err)
		return
	}
	defer client.Close()
	err = bus.NewUplink(bus.UplinkOptions{Client: client, Rack: name, Name: "j-" + name, Journal: log,
		Hello:     func() *messages.Hello { return &messages.Hello{Version: "bench"} },
		Welcomed:  func(uint64) error { return nil },
		Obey:      func(context.Context, *messages.Order) {},
		Heartbeat: func() *messages.Heartbeat { return &messages.Heartbeat{LastSeq: log.Last(), Driven: true, Speed: 1} },
	}).Run(ctx)
	if err != nil {
		b.t.Errorf("%s: %v", name, err)
	}
}

// tally is a journal in memory that knows its newest event.
type tally struct {
	*journal.Memory
	last atomic.Uint64
}

// Last implements bus.Journal.
func (c *tally) Last() uint64 { return c.last.Load() }

// live journals the events of a run at the pace of the bench.
func (b *benched) live(name, hash string, at []time.Time, log *tally, offset, takes time.Duration) {
	first := b.events[0].Time
	whole := b.events[len(b.events)-1].Time.Sub(first)
	begin := time.Now().Add(offset)
	for i, e := range b.events {
		due := begin.Add(time.Duration(float64(e.Time.Sub(first)) / float64(whole) * float64(takes)))
		if d := time.Until(due); d > time.Millisecond {
			time.Sleep(d)
		}
		e.Rack, e.Seq = name, 0
		if e.Kind == rack.RackStarted {
			e.Detail.PlanHash = hash
		}
		b.mu.Lock()
		at[i+1] = time.Now()
		b.mu.Unlock()
		if _, err := log.Append(e); err != nil {
			b.t.Error(err)
			return
		}
		log.last.Store(uint64(i + 1))
	}
}
