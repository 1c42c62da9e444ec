package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/wire"
)

// busy is a server whose disk ends a sync when the test says so.
type busy struct {
	t     *testing.T
	w     *batches
	c     *counts
	store *lease.Store
	disk  chan error // what the next sync returns
	bound []string   // addresses whose acknowledgement was told
	sorry []error
}

// onBusyDisk runs a test with a server, in virtual time. So many
// clients of it were offered their addresses.
func onBusyDisk(t *testing.T, clients int, f func(*busy)) {
	synctest.Test(t, func(t *testing.T) {
		x := &busy{t: t, w: newBatches(), c: &counts{}}
		var err error
		x.store, err = lease.Open(filepath.Join(t.TempDir(), "leases"), lease.Options{Sync: func(*os.File) error {
			if x.disk == nil {
				return nil
			}
			return <-x.disk
		}})
		if err != nil {
			t.Fatal(err)
		}
		x.disk = make(chan error)
		s := testServer(t, Options{Wire: x.w, Leases: x.store, Table: strangers("10.0.0.1", "10.0.255.254"), Count: x.c.count,
			OnTrouble: func(err error) { x.sorry = append(x.sorry, err) },
			OnSeen: func(s Seen) {
				if s.Address != "" {
					x.bound = append(x.bound, s.Address)
				}
			}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Serve(ctx) }()
		for n := range clients {
			x.asked(from(n+1, discover()))
		}
		f(x)
		stop()
		close(x.disk)
		if err := errors.Join(<-ended, x.store.Close()); err != nil {
			t.Error(err)
		}
	})
}

// asked sends packets and returns how many answers left, in virtual time at once.
func (x *busy) asked(ps ...*packet) int {
	x.t.Helper()
	var in []wire.Datagram
	for _, p := range ps {
		in = append(in, wire.Datagram{Payload: p.bytes(), Peer: sender})
	}
	x.w.in <- in
	return x.left()
}

// left is how many answers left since it was asked last.
func (x *busy) left() (n int) {
	synctest.Wait()
	for len(x.w.out) > 0 {
		n += len(<-x.w.out)
	}
	return n
}

// synced lets a sync end, and returns how many answers left then.
func (x *busy) synced(err error) int {
	x.disk <- err
	return x.left()
}

// from is a packet of one of many clients.
func from(n int, p *packet) *packet {
	return p.from(fmt.Sprintf("52:54:00:00:%02x:%02x", n>>8, n&0xff))
}

// requests is a request of a client for the address that it was offered.
func requests(n int) *packet {
	a := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return from(n, asks().addr(50, a.String()).addr(54, ours))
}

// While the disk is busy, offers leave. Acknowledgements leave, and are told of, when
// a sync has ended that began after their request.
func TestOffersDoNotWaitForTheDisk(t *testing.T) {
	onBusyDisk(t, 5, func(x *busy) {
		if n := x.asked(requests(1)); n != 0 || len(x.bound) > 0 {
			t.Errorf("%d answers before the lease is durable, told of %v", n, x.bound)
		}
		if n := x.asked(from(6, discover()), from(7, discover())); n != 2 {
			t.Errorf("%d offers while the disk is busy", n)
		}
		if n := x.asked(requests(4), requests(5)); n != 0 {
			t.Errorf("%d answers before the lease is durable", n)
		}
		if n := x.synced(nil); n != 1 || len(x.bound) != 1 || x.bound[0] != "10.0.0.1" {
			t.Errorf("%d answers, told of %v: the sync began before the others asked", n, x.bound)
		}
		time.Sleep(gather)
		if n := x.left(); n != 0 {
			t.Errorf("%d answers without a sync", n)
		}
		if n := x.synced(nil); n != 2 || len(x.bound) != 3 || x.store.Stats().Commits != 2 {
			t.Errorf("%d answers, told of %v, %+v", n, x.bound, x.store.Stats())
		}
	})
}

// When a commit fails, also those are not acknowledged who asked meanwhile: their
// leases rest on what was undone. Then it goes on.
func TestDiskTroubleWithMoreBehind(t *testing.T) {
	onBusyDisk(t, 3, func(x *busy) {
		x.asked(requests(1))
		x.asked(requests(2), requests(3))
		if n := x.synced(errors.New("no space")); n != 0 || len(x.bound) > 0 || x.c.get("REQUEST store-failed") != 3 || len(x.sorry) != 1 {
			t.Errorf("%d answers, told of %v, %v, %v", n, x.bound, x.c.n, x.sorry)
		}
		if st := x.store.Stats(); st.Leases != 0 || st.Failed != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(gather)
		x.asked(requests(1))
		x.asked(requests(2))
		x.synced(nil)
		time.Sleep(gather)
		if x.synced(nil); len(x.bound) != 2 || x.c.get("REQUEST acknowledged") != 2 || len(x.sorry) != 1 {
			t.Errorf("told of %v, %v, %v", x.bound, x.c.n, x.sorry)
		}
	})
}

// So many wait for the disk, and no more are read.
func TestMostWaiting(t *testing.T) {
	onBusyDisk(t, 2*mostWaiting, func(x *busy) {
		x.asked(requests(1))
		sent, next := 0, 2
		for full := false; !full; {
			var in []wire.Datagram
			for range batchSize {
				in = append(in, wire.Datagram{Payload: requests(next).bytes(), Peer: sender})
				next++
			}
			time.Sleep(gather)
			synctest.Wait()
			select {
			case x.w.in <- in:
				sent += batchSize
			default:
				full = true
			}
		}
		if sent > mostWaiting || sent <= mostWaiting-batchSize {
			t.Errorf("%d requests wait, want about %d", sent, mostWaiting)
		}
		answers := x.synced(nil)
		time.Sleep(gather)
		answers += x.left()
		x.disk <- nil
		began := time.Now()
		for answers < sent+1 {
			answers += len(<-x.w.out)
		}
		if took, least := time.Since(began), time.Duration(sent-burst-ackSize)*time.Second/mostAnswers; took < least {
			t.Errorf("%d acknowledgements left within %s: that is faster than anybody can take them", answers, took)
		}
		if x.c.get("REQUEST acknowledged") < sent-ackSize || x.store.Stats().Commits != 2 {
			t.Errorf("%v, %+v", x.c.n, x.store.Stats())
		}
	})
}

// Acknowledgements of a group leave with the answers to packets that come meanwhile, some
// by some, and by themselves when none come: each once, also while a batch is answered.
func TestAcknowledgementsLeaveAlong(t *testing.T) {
	const many = 2 * batchSize
	onBusyDisk(t, many+1, func(x *busy) {
		x.asked(requests(many + 1))
		for from := 0; from < many; from += batchSize {
			var ps []*packet
			for n := range batchSize {
				ps = append(ps, requests(from+n+1))
			}
			x.asked(ps...)
		}
		x.synced(nil)
		time.Sleep(gather)
		if n := x.synced(nil); n != ackSize {
			t.Errorf("%d acknowledgements left at once by themselves", n)
		}
		if n := x.asked(from(many+2, discover()), from(many+3, discover())); n <= 2 || n > 2*2 {
			t.Errorf("%d answers to two packets, and some along", n)
		}
		time.Sleep(many * ackPause / ackSize)
		x.left()
		told := map[string]bool{}
		for _, a := range x.bound {
			told[a] = true
		}
		if len(told) != many+1 || len(x.bound) != many+1 || x.c.get("REQUEST acknowledged") != many+1 {
			t.Errorf("told of %d, %d of them once, %v", len(x.bound), len(told), x.c.n)
		}
	})
}

// After many packets at once the next ones gather; who asks alone is answered at once.
func TestCrowdsGather(t *testing.T) {
	onBusyDisk(t, 0, func(x *busy) {
		took := func(ps ...*packet) time.Duration {
			x.asked(ps...)
			began := time.Now()
			x.asked(from(1, discover()))
			return time.Since(began)
		}
		var ps []*packet
		for n := range crowd {
			ps = append(ps, from(n+2, discover()))
		}
		if d := took(ps[1:]...); d != 0 {
			t.Errorf("after a few packets the next one waits for %s", d)
		}
		if d := took(ps...); d != crowdRest {
			t.Errorf("after many packets the next one waits for %s", d)
		}
	})
}

// The time between two commits counts from the disk, not from the acknowledgements: who
// asked while many of them left waits no longer for that.
func TestGatherWhileAcknowledgementsLeave(t *testing.T) {
	const many = mostWaiting - 2*batchSize
	onBusyDisk(t, many+2, func(x *busy) {
		x.asked(requests(1))
		for n := 2; n < many+2; n += batchSize {
			var ps []*packet
			for k := range batchSize {
				ps = append(ps, requests(n+k))
			}
			x.asked(ps...)
		}
		x.synced(nil)
		time.Sleep(gather)
		x.disk <- nil // of many
		for left := 0; left < many; {
			left += len(<-x.w.out)
		}
		x.asked(requests(many + 2))
		time.Sleep(ackSize * time.Second / mostAnswers)
		synctest.Wait()
		select {
		case x.disk <- nil:
		default:
			t.Error("the disk still rests")
		}
	})
}

func TestPace(t *testing.T) {
	const each = time.Second / mostAnswers
	var p pace
	now := testTime
	for _, x := range []struct {
		later time.Duration
		n     int
		want  time.Duration
	}{
		{0, 1, each - burst*each}, {0, burst - 1, 0}, {0, 10, 10 * each}, {10 * each, 10, 10 * each}, {20 * each, 10, 0},
		{time.Hour, burst + 5, 5 * each},
	} {
		now = now.Add(x.later)
		if got := p.sent(x.n, now); got != x.want {
			t.Errorf("%d after %s: wait %s, want %s", x.n, x.later, got, x.want)
		}
	}
}
