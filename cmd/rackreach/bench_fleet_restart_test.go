//go:build bench

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
)

// restart ends the coordinator by SIGKILL and starts it again, on the history of n
// racks whose agents are there, and once more without what it had saved. It returns
// how long the first took until the API told where every rack stands, and whether every
// event could be read once more, which is then done.
func (b *benched) restart(n int) (took time.Duration, whole bool) {
	b.kill()
	served, told := b.again(n)
	b.kill()
	if err := os.RemoveAll(filepath.Join(string(b.home), "coordinator", "snapshots")); err != nil {
		b.t.Fatal(err)
	}
	_, bare := b.again(n)
	whole = b.readAgain(n)
	fmt.Printf("restart with the history of %d racks, %d events: the API answers after %.2f s, tells where every rack stands after %.2f s; after %.2f s when nothing was saved; every event was read once more: %v\n",
		n, n*len(b.events), served.Seconds(), told.Seconds(), bare.Seconds(), whole)
	return told, whole
}

// again starts the coordinator, and returns how long it took until it served, and
// until it told where every rack stands.
func (b *benched) again(n int) (served, took time.Duration) {
	begin := time.Now()
	b.start()
	served = time.Since(begin)
	for {
		a, err := b.client.Fleet.GetFleet(context.Background(), connect.NewRequest(&messages.GetFleetRequest{}))
		if err != nil {
			b.t.Fatal(err)
		}
		done := 0
		for _, r := range a.Msg.GetFleet().GetRacks() {
			if r.GetStatus() == "completed" && r.GetLastSeq() == uint64(len(b.events)) {
				done++
			}
		}
		if done == n {
			return served, time.Since(begin)
		}
		if time.Since(begin) > 5*time.Minute {
			b.t.Fatalf("%d of %d racks are known", done, n)
		}
	}
}

// readAgain reads every event from the API, from the first one on, and reports whether
// all are there, in order.
func (b *benched) readAgain(n int) bool {
	next := map[string]uint64{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := b.client.Fleet.WatchFleet(ctx, connect.NewRequest(&messages.WatchFleetRequest{}))
	if err != nil {
		b.t.Fatal(err)
	}
	sum := 0
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			next[e.GetRack()]++
			if e.GetSeq() != next[e.GetRack()] {
				b.t.Errorf("%s: event %d where %d is due", e.GetRack(), e.GetSeq(), next[e.GetRack()])
				return false
			}
			sum++
		}
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil || sum != n*len(b.events) {
		b.t.Errorf("%d of %d events can be read again: %v", sum, n*len(b.events), err)
		return false
	}
	return true
}
