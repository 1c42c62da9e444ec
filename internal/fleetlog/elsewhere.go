package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// askWait is how long the other coordinators are given to say that they have an
// agent: only one that has it answers, so that a no takes as long as this.
const askWait = 2 * time.Second

// connectedSubject is no subject of a stream: a question is worth nothing later.
func connectedSubject(rack string) string { return "rackreach.connected." + rack }

// AnswerConnected tells the other coordinators of the cluster, until ctx ends, that
// the agent of a rack is connected to this one, when they ask. It returns nil at once
// where the log is embedded: there are no others.
func (l *Log) AnswerConnected(ctx context.Context, connected func(ctx context.Context, rack string) (bool, error)) error {
	if l.server != nil {
		return nil
	}
	questions, err := l.conn.SubscribeSync(connectedSubject("*"))
	if err != nil {
		return fmt.Errorf("answer other coordinators at %s: %w", l.where(), err)
	}
	defer func() { _ = questions.Unsubscribe() }() // the connection may be closed already
	for {
		m, err := questions.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrSlowConsumer):
			continue // what was dropped is asked again
		case err != nil:
			return fmt.Errorf("answer other coordinators at %s: %w", l.where(), err)
		}
		rack := string(m.Data)
		if checkRack(rack) != nil || m.Subject != connectedSubject(rack) {
			continue
		}
		if is, err := connected(ctx, rack); err == nil && is {
			_ = m.Respond([]byte("connected")) // who does not hear it asks again
		}
	}
}

// ConnectedElsewhere asks the other coordinators of the cluster whether the agent of
// a rack is connected to one of them. A coordinator that cannot be reached says
// nothing, and counts as one that has no agent.
func (l *Log) ConnectedElsewhere(ctx context.Context, rack string) (bool, error) {
	if l.server != nil {
		return false, nil
	}
	if err := checkRack(rack); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	_, err := l.conn.RequestWithContext(ctx, connectedSubject(rack), []byte(rack))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders):
		return false, nil
	}
	return false, fmt.Errorf("ask other coordinators at %s for the agent of rack %s: %w", l.where(), rack, err)
}
