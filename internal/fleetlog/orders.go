package fleetlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/messages"
)

func orderSubject(rack, id string) string { return "rackreach.orders." + rack + "." + id }

// Order keeps an order until it is answered. One that is kept already is kept once.
func (l *Log) Order(ctx context.Context, o *messages.Order) error {
	if err := checkOrder(o.GetRack(), o.GetId()); err != nil {
		return err
	}
	b, err := proto.Marshal(o)
	if err != nil {
		return fmt.Errorf("keep an order for rack %s: %w", o.GetRack(), err)
	}
	m := nats.NewMsg(orderSubject(o.GetRack(), o.GetId()))
	m.Data = b
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	_, err = l.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil && !isWrongSequence(err) {
		return fmt.Errorf("keep an order for rack %s: %w", o.GetRack(), err)
	}
	return nil
}

// Answered drops an order.
func (l *Log) Answered(ctx context.Context, rack, id string) error {
	if err := checkOrder(rack, id); err != nil {
		return err
	}
	if err := l.orders.Purge(ctx, jetstream.WithPurgeSubject(orderSubject(rack, id))); err != nil {
		return fmt.Errorf("drop order %s of rack %s: %w", id, rack, err)
	}
	return nil
}

// Orders are the orders that are kept now. They may be many fewer than the messages
// that the queue ever held: each is asked for.
func (l *Log) Orders(ctx context.Context) (out []*messages.Order, err error) {
	for place := uint64(1); ; {
		m, err := l.orders.GetMsg(ctx, place, jetstream.WithGetMsgSubject(orderSubject("*", "*")))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the queue of orders: %w", err)
		}
		var o messages.Order
		if err := proto.Unmarshal(m.Data, &o); err != nil {
			return nil, fmt.Errorf("read an order of the queue: %w", err)
		}
		out, place = append(out, &o), m.Sequence+1
	}
}

// FollowOrders calls fn with every order that is kept, and with those that come,
// until ctx ends; that is an error, as is one of fn or of the log.
func (l *Log) FollowOrders(ctx context.Context, fn func(*messages.Order) error) error {
	return follow(ctx, l.orders, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy},
		func(m jetstream.Msg) (*messages.Order, error) {
			var o messages.Order
			if err := proto.Unmarshal(m.Data(), &o); err != nil {
				return nil, fmt.Errorf("read an order of the queue: %w", err)
			}
			return &o, nil
		}, func(orders []*messages.Order) error {
			for _, o := range orders {
				if err := fn(o); err != nil {
					return err
				}
			}
			return nil
		})
}
