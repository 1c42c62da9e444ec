package discovery

import (
	"runtime/debug"
	"time"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// batchSize is how many packets are answered together, at most. They share one commit
// of their leases: with a disk that needs 10 ms for it, 64 packets are 3,200 clients a
// second. Their answers leave one behind the other; more than that at once overruns
// who receives them (measured: of batches of up to 256, a client's socket of 208 KiB
// lost 9 % at 15,800 clients a second).
const batchSize = 64

// After a commit to the disk the next packets are read once crowd of them are there, as
// far as can be foreseen, and after gather at the latest: those that came meanwhile
// share one commit. Who asks alone does not notice, since the answer has left by then.
// Without it the disk is synced for every other packet that comes, which costs more CPU
// than all the rest.
const (
	gather = 10 * time.Millisecond
	crowd  = 48 // of at most batchSize: a batch that is full says nothing of how many wait
)

// pause is how long to wait before the next packets are read, after a batch of n that
// came within a time.
func pause(n int, within time.Duration) time.Duration {
	if n >= batchSize {
		return 0 // more are there
	}
	return min(gather, time.Duration(crowd)*within/time.Duration(max(n, 1)))
}

// batch is the packets that were read together, and the room for them and their
// answers, which is used again for each batch.
type batch struct {
	s       *Server
	in      []wire.Datagram
	room    [][]byte // of in, at full length
	results []Result
	buffers [][]byte // of the answers
	out     []wire.Datagram
	of      []int // which result an answer of out belongs to
	rest    []int // results that rest on a lease of this batch
}

func newBatch(s *Server) *batch {
	b := &batch{s: s, in: make([]wire.Datagram, batchSize), room: make([][]byte, batchSize), results: make([]Result, batchSize),
		buffers: make([][]byte, batchSize), out: make([]wire.Datagram, 0, batchSize), of: make([]int, 0, batchSize), rest: make([]int, 0, batchSize)}
	packets, answers := make([]byte, batchSize*(MaxPacket+1)), make([]byte, batchSize*mostMaximum)
	for i := range batchSize {
		from, to := i*(MaxPacket+1), (i+1)*(MaxPacket+1)
		b.room[i] = packets[from:to:to]
		b.buffers[i] = answers[i*mostMaximum : i*mostMaximum : (i+1)*mostMaximum]
	}
	return b
}

// read waits for packets and says how many came.
func (b *batch) read() (int, error) {
	for i := range b.in {
		b.in[i] = wire.Datagram{Payload: b.room[i]}
	}
	return b.s.options.Wire.Read(b.in)
}

// answer decides about the first n packets and sends the answers: at once those that
// rest on no lease, the others when the leases of all of them are durable. It reports
// whether that took a commit to the disk.
func (b *batch) answer(n int, now time.Time) (committed bool) {
	b.rest = b.rest[:0]
	for i := range n {
		b.guarded(i, func() { b.results[i] = b.s.handle(b.in[i].Payload, b.in[i].Peer, now, b.buffers[i]) })
		if b.results[i].leased {
			b.rest = append(b.rest, i)
		}
	}
	b.out, b.of = b.out[:0], b.of[:0]
	for i := range n {
		if !b.results[i].leased {
			b.tell(i)
		}
	}
	b.send()
	committed = b.commit()
	for _, i := range b.rest {
		b.tell(i)
	}
	b.send()
	for i := range n {
		r := &b.results[i]
		b.s.options.Count(r.Message, string(r.Outcome))
		if r.Truncated {
			b.s.options.Count(r.Message, string(Truncated))
		}
		b.results[i] = Result{}
	}
	return committed
}

// tell says what was seen, and puts the answer with those that are sent.
//
// First the word, then the answer: what the device does with the answer, and lets
// others observe, comes behind it. An answer that does not leave is like one that
// is lost on the way, which nobody can tell: the device asks again.
func (b *batch) tell(i int) {
	r := &b.results[i]
	if r.Seen != nil {
		b.guarded(i, func() { b.s.options.OnSeen(*r.Seen) })
	}
	if r.Reply.Payload != nil {
		b.out, b.of = append(b.out, r.Reply), append(b.of, i)
	}
}

func (b *batch) send() {
	if len(b.out) > 0 {
		b.s.options.Wire.Write(b.out, func(i int, _ error) { b.results[b.of[i]].Outcome = SendFailed })
	}
	b.out, b.of = b.out[:0], b.of[:0]
}

// commit makes the leases of the batch durable. When that fails, no
// acknowledgement that rests on one of them leaves (RFC 2131 section 4.3.1).
func (b *batch) commit() (toDisk bool) {
	if !b.s.leases.Changed() {
		return false
	}
	toDisk = b.s.leases.Durable()
	err := b.s.leases.Commit()
	if err == nil {
		b.s.failing = false
		return toDisk
	}
	if !b.s.failing {
		b.s.failing = true
		b.s.options.OnTrouble(err)
	}
	for _, i := range b.rest {
		b.results[i].unacknowledge()
	}
	clear(b.s.repeats) // they were not acknowledged
	return toDisk
}

// unacknowledge takes an answer back whose lease is not durable.
func (r *Result) unacknowledge() {
	r.Outcome, r.Reply, r.Truncated = StoreFailed, wire.Datagram{}, false
	r.Seen.Address = ""
	r.Seen.Observation.Address, r.Seen.Observation.Proves = "", rack.NoEvidence
}

// guarded lets a panic cost one packet only.
func (b *batch) guarded(i int, f func()) {
	defer func() {
		reason := recover()
		if reason == nil {
			return
		}
		r := &b.results[i]
		*r = Result{Message: r.Message, Outcome: Panicked}
		if r.Message == "" {
			r.Message = noMessage
		}
		stack := debug.Stack()
		b.s.options.OnPanic(reason, stack[:min(len(stack), maxStack)])
	}()
	f()
}
