package fleetlog

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/messages"
)

func orderSubject(rack, id string) string { return "rackreach.orders." + rack + "." + id }

func checkOrder(rack, id string) error {
	if err := checkRack(rack); err != nil {
		return err
	}
	if id == "" || len(id) > 256 || strings.ContainsAny(id, ".*> \t\r\n") {
		return fmt.Errorf("%.80q is not the id of an order", id)
	}
	return nil
}

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
	_, err = l.write(ctx, m, jetstream.WithExpectLastSequencePerSubject(0))
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
