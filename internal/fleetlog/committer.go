package fleetlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Headers of an atomic batch (NATS ADR-50, servers from 2.12 on).
const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
)

// Bounds of what is committed at once. A sync costs the same for one message as
// for all of them; a server takes at most 1,000.
const (
	maxGroup      = 500     // messages
	maxGroupBytes = 2 << 20 // of their bodies
	// fewAlone is how many messages an embedded server stores one by one: each costs
	// a sync and 0.2 ms of CPU. A group, which it stores in files of its own first,
	// costs some five syncs and 2.4 ms, however few are in it (measured, 2.15). Of a
	// cluster each message costs a round among its servers, so that two are a group.
	fewAlone = 8
	// pace is the least time between the begins of two groups, when more than one
	// rack writes: a busy log is written in fewer, larger groups, and all that reads
	// it reads more at once.
	pace = 50 * time.Millisecond
)

// write is one message that waits to be durable.
type write struct {
	ctx   context.Context
	m     *nats.Msg
	place uint64 // of the message that must be the subject's newest
	done  chan written
}

type written struct {
	place uint64
	err   error
}

// committer makes the messages of many racks durable together: what arrives
// while a group is on its way is the next group. Each message keeps its own
// condition. A group is stored whole or not at all; one that is refused is halved,
// so that only the writers that are late get an error.
type committer struct {
	conn  *nats.Conn
	js    jetstream.JetStream
	group bool // the server knows atomic batches
	few   int  // messages that are no group

	// suspect: the last write failed, and not because it was refused. What the server
	// lets read may be in its memory only, until it has written something again.
	suspect atomic.Bool

	broken func(error) // is told of a write that failed, and was not refused

	queue chan *write
	life  context.Context // ends with the log, and every write with it
	end   context.CancelFunc
	ended sync.WaitGroup
}

func newCommitter(conn *nats.Conn, js jetstream.JetStream, group bool, few int, broken func(error)) *committer {
	c := &committer{conn: conn, js: js, group: group, few: few, broken: broken, queue: make(chan *write, 2*maxGroup)}
	c.life, c.end = context.WithCancel(context.Background())
	c.ended.Go(c.run)
	return c
}

// write returns the place of a message once it is durable.
func (c *committer) write(ctx context.Context, m *nats.Msg, place uint64) (uint64, error) {
	w := &write{ctx: ctx, m: m, place: place, done: make(chan written, 1)}
	select {
	case c.queue <- w:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.life.Done():
		return 0, ErrClosed
	}
	select {
	case r := <-w.done:
		return r.place, r.err
	case <-ctx.Done():
		return 0, ctx.Err() // it may become durable yet
	case <-c.life.Done():
		return 0, ErrClosed
	}
}

func (c *committer) close() {
	c.end()
	c.ended.Wait()
}

func (c *committer) run() {
	rested := time.NewTimer(0) // fires once the pace allows the next group
	defer rested.Stop()
	for {
		select {
		case <-rested.C:
		case <-c.life.Done():
			return
		}
		select {
		case w := <-c.queue:
			group := c.gather(w)
			next := time.Duration(0)
			if len(group) > 1 {
				next = pace
			}
			rested.Reset(next)
			c.commit(group)
		case <-c.life.Done():
			return
		}
	}
}

// gather is the first message and those that wait behind it, within the bounds.
func (c *committer) gather(first *write) []*write {
	group, size := []*write{first}, len(first.m.Data)
	for c.group && len(group) < maxGroup && size < maxGroupBytes {
		select {
		case w := <-c.queue:
			group, size = append(group, w), size+len(w.m.Data)
			continue
		default:
		}
		break
	}
	return group
}

func (c *committer) commit(group []*write) {
	live := group[:0]
	for _, w := range group {
		if err := w.ctx.Err(); err != nil {
			w.done <- written{err: err}
			continue
		}
		live = append(live, w)
	}
	if len(live) <= max(c.few, 1) {
		for _, w := range live {
			w.done <- c.alone(w)
		}
		return
	}
	last, err := c.publish(live)
	if isRefused(err) {
		c.commit(live[:len(live)/2])
		c.commit(live[len(live)/2:])
		return
	}
	c.note(err)
	for i, w := range live {
		w.done <- written{place: last - uint64(len(live)-1-i), err: err}
	}
}

// alone stores one message.
func (c *committer) alone(w *write) written {
	for _, h := range []string{batchID, batchSequence, batchCommit} { // of a group that was refused
		w.m.Header.Del(h)
	}
	ctx, cancel := context.WithTimeout(c.life, writeLimit)
	defer cancel()
	ack, err := c.js.PublishMsg(ctx, w.m, jetstream.WithExpectLastSequencePerSubject(w.place), jetstream.WithRetryAttempts(0))
	c.note(err)
	if err != nil {
		return written{err: err}
	}
	return written{place: ack.Sequence}
}

func (c *committer) note(err error) {
	if !isRefused(err) {
		c.suspect.Store(err != nil)
		if err != nil && c.life.Err() == nil {
			c.broken(err)
		}
	}
}

// publish stores a group as one, and returns the place of its last message.
func (c *committer) publish(group []*write) (uint64, error) {
	id := nuid.Next()
	for i, w := range group {
		w.m.Header.Set(batchID, id)
		w.m.Header.Set(batchSequence, strconv.Itoa(i+1))
		w.m.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(w.place, 10))
		w.m.Header.Del(batchCommit) // of a try before
		if i < len(group)-1 {
			if err := c.conn.PublishMsg(w.m); err != nil {
				return 0, err
			}
		}
	}
	last := group[len(group)-1].m
	last.Header.Set(batchCommit, "1")
	ctx, cancel := context.WithTimeout(c.life, writeLimit)
	defer cancel()
	reply, err := c.conn.RequestMsgWithContext(ctx, last)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
		Count    int                 `json:"count"`
	}
	switch err := json.Unmarshal(reply.Data, &ack); {
	case err != nil:
		return 0, fmt.Errorf("the server's answer to a batch: %w", err)
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Count != len(group) || ack.Sequence < uint64(ack.Count):
		return 0, fmt.Errorf("the server stored %d messages of a batch of %d", ack.Count, len(group))
	}
	return ack.Sequence, nil
}

// isRefused reports whether a group was refused for what one of its messages
// says, or because it was a group: nothing of it is stored.
func isRefused(err error) bool {
	var e *jetstream.APIError
	return isWrongSequence(err) || errors.As(err, &e) && e.ErrorCode == codeBatchIncomplete
}

// isWrongSequence reports whether somebody else wrote to the subject, or, with the
// second code, is writing to it now (a cluster only).
func isWrongSequence(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
