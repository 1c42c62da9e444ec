package rackagent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// Superseded is the end of an agent whose rack belongs to another one.
type Superseded struct {
	Rack    string
	Epoch   uint64    // of the other
	Journal string    // the name of its journal
	Heard   time.Time // when it was heard of last; zero: never
}

// Error says what to do.
func (s *Superseded) Error() string {
	heard := ""
	if !s.Heard.IsZero() {
		heard = ", heard of last at " + s.Heard.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return fmt.Sprintf("the rack %s belongs to another agent by now (epoch %d, journal %.80s%s), so this one leaves it alone. To take it back, stop that one, then: rackreach agent --rack %s --adopt",
		s.Rack, s.Epoch, s.Journal, heard, s.Rack)
}

// link is what is known of the way to a coordinator.
type link struct {
	epoch     state.Epoch // as it is kept
	connected bool
	acked     uint64 // the newest event that is durable in the coordinator's log, as far as it was told
}

// Connect keeps the agent connected to a coordinator until ctx ends, as the Uplink
// of KeeperOptions. hello has what the Keeper does not know: version, metrics
// address, server id; o the client, and what else is special about the way. Errors:
// *Superseded; that histories went apart; that the epoch could not be kept.
func (k *Keeper) Connect(ctx context.Context, hello *messages.Hello, o bus.UplinkOptions) error {
	o.Hello = func() *messages.Hello {
		h := &messages.Hello{Version: hello.GetVersion(), MetricsAddress: hello.GetMetricsAddress(), ServerIds: k.serverIDs(), Salvaged: k.Journal().Meta().Salvaged}
		if p := k.Kept().Carried; p != nil {
			h.PlanHash = p.Plan.Hash
		}
		return h
	}
	o.Obey = func(ctx context.Context, m *messages.Order) {
		if err := k.Obey(ctx, m); err != nil && ctx.Err() == nil {
			k.o.Logger.Warn("an order is not answered; the coordinator gives it again", "order", m.GetId(), "verb", m.GetVerb(), "error", err)
		}
	}
	o.Rack, o.Name, o.Epoch, o.Journal = k.Name(), k.Journal().Meta().Run, k.Epoch(), k.Journal()
	o.Siblings = k.siblings.Tell
	o.Welcomed, o.Plan, o.Heartbeat, o.Logger = k.Welcomed, k.Plan, k.Heartbeat, k.o.Logger
	o.State = func(s bus.State) { k.Linked(s.Connected, s.Acked) }
	err := bus.NewUplink(o).Run(ctx)
	var other *bus.Superseded
	if errors.As(err, &other) {
		s := &Superseded{Rack: k.Name(), Epoch: other.By.GetEpoch(), Journal: other.By.GetJournal()}
		if at := other.By.GetLastHeard(); at != nil {
			s.Heard = at.AsTime()
		}
		return s
	}
	var apart *bus.Diverged
	if errors.As(err, &apart) {
		return fmt.Errorf("%w. One of the two came out of a backup, or this is a copy of the state of an agent that lives on elsewhere. To go on with what the coordinator holds, move %s away, then: rackreach agent --rack %s --adopt", err, k.Kept().Dir, k.Name())
	}
	return err
}

// supersede makes the end by another agent last: this one does not start again.
func (k *Keeper) supersede(err error) error {
	var s *Superseded
	if !errors.As(err, &s) {
		return err
	}
	k.side.Lock()
	defer k.side.Unlock()
	s.Rack = k.Name()
	k.link.epoch.Superseded = &state.Successor{Epoch: s.Epoch, Journal: s.Journal, Time: time.Now().UTC().Round(0)}
	return errors.Join(s, k.Kept().Dir.WriteEpoch(k.link.epoch))
}

// Epoch is the epoch that the agent writes in; 0: it was never welcomed.
func (k *Keeper) Epoch() uint64 {
	k.side.Lock()
	defer k.side.Unlock()
	return k.link.epoch.Number
}

// Welcomed keeps the epoch that a coordinator said, durably.
func (k *Keeper) Welcomed(epoch uint64) error {
	k.side.Lock()
	defer k.side.Unlock()
	if epoch == k.link.epoch.Number {
		return nil
	}
	k.link.epoch.Number = epoch
	return k.Kept().Dir.WriteEpoch(k.link.epoch)
}

// Siblings are the agents of the other racks of the fleet.
func (k *Keeper) Siblings() *Siblings { return k.siblings }

// serverIDs are what the devices of the rack take for the address of their DHCP
// server; none while nothing is served.
func (k *Keeper) serverIDs() (out []string) {
	l := k.living.Load()
	if l == nil {
		return nil
	}
	for _, a := range l.ServerIDs() {
		if !a.IsLoopback() { // of a simulation: it is on no segment
			out = append(out, a.String())
		}
	}
	return out[:min(len(out), bus.MaxServerIDs)]
}

// Linked says how the connection to the coordinator is, and which event is the
// newest that it acknowledged.
func (k *Keeper) Linked(connected bool, acked uint64) {
	k.side.Lock()
	defer k.side.Unlock()
	k.link.connected, k.link.acked = connected, max(acked, k.link.acked)
}

// Lag reports whether a coordinator is connected, and how many events it did not
// acknowledge yet.
func (k *Keeper) Lag() (connected bool, events uint64) {
	last := k.Journal().Last()
	k.side.Lock()
	defer k.side.Unlock()
	return k.link.connected, last - min(last, k.link.acked)
}

// Metrics are those of the way to a coordinator.
func (k *Keeper) Metrics() []prometheus.Collector {
	gauge := func(name, help string, value func(connected bool, behind uint64) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"rack": k.Name()}},
			func() float64 { return value(k.Lag()) })
	}
	return []prometheus.Collector{
		gauge("rackreach_uplink_connected", "1 while the agent is connected to a coordinator, else 0.", func(connected bool, _ uint64) float64 {
			if connected {
				return 1
			}
			return 0
		}),
		gauge("rackreach_uplink_lag_events", "Events of the agent's journal that its coordinator did not acknowledge yet.", func(_ bool, behind uint64) float64 {
			return float64(behind)
		}),
	}
}

// Heartbeat is what is worth no event.
func (k *Keeper) Heartbeat() *messages.Heartbeat {
	m := &messages.Heartbeat{Time: timestamppb.Now(), LastSeq: k.Journal().Last(), Driven: k.Driven(), Speed: k.Speed(), ServerIds: k.serverIDs()}
	if p := k.Kept().Carried; p != nil {
		for i := range p.Rack.Devices {
			name := p.Rack.Devices[i].Name
			if sent, size := k.Transferred(name); size > 0 {
				m.Transfers = append(m.Transfers, &messages.Transfer{Device: name, Sent: sent, Size: size})
			}
		}
	}
	return m
}

// Summary is where the rack stands, in a line for people.
func (k *Keeper) Summary() (out string) {
	if k.Kept().Carried == nil {
		return "rack " + k.Name() + " waits for a plan"
	}
	if err := k.look(func(run *rack.Run) {
		ready, failed := run.Tally()
		out = fmt.Sprintf("rack %s is %s: %d of %d devices are ready, %d failed", k.Name(), run.Status, ready, len(run.Rack.Devices), failed)
	}); err != nil {
		return err.Error()
	}
	return out
}
