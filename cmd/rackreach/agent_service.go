package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/rack"
)

// notify tells the service manager, if there is one. It is a courtesy: what
// matters of a failure to do so the manager sees itself.
func notify(what string) { _, _ = daemon.SdNotify(false, what) }

// watchdog tells the service manager, if it wants to know, that this
// process is well for as long as it is, until ctx ends. wait returns once it has ended.
func watchdog(ctx context.Context, alive func(within time.Duration) error, log *slog.Logger) (wait func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(every / 3) // two may be late
		defer t.Stop()
		for {
			if err := alive(every / 3); err == nil {
				notify("WATCHDOG=1")
			} else {
				log.Error("this process is not well, and the service manager is not told otherwise", "error", err)
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { <-done }
}

// agentView writes one plain line per event that a person waits for, with its time.
type agentView struct{ out io.Writer }

func (v *agentView) show(events []rack.Event) error {
	for _, e := range events {
		text := audit.Sentence(e)
		if text == "" {
			continue
		}
		who := e.Device
		if who == "" {
			who = e.Rack
		}
		if _, err := fmt.Fprintf(v.out, "%s  %-14s %s\n", e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), who, text); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	return nil
}

// lifeMetrics are the metrics of the agent itself and of its last life.
type lifeMetrics struct {
	own  *prometheus.Registry
	life atomic.Pointer[prometheus.Registry] // nil: none so far
}

var _ prometheus.Gatherer = (*lifeMetrics)(nil)

// Gather implements prometheus.Gatherer.
func (m *lifeMetrics) Gather() ([]*dto.MetricFamily, error) {
	all := prometheus.Gatherers{m.own}
	if r := m.life.Load(); r != nil {
		all = append(all, r)
	}
	return all.Gather()
}
