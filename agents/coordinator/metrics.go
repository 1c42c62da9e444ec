package coordinator

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/rack"
)

var (
	descRacks     = prometheus.NewDesc("rackreach_fleet_racks", "Racks, by where they stand.", []string{"status"}, nil)
	descDevices   = prometheus.NewDesc("rackreach_fleet_devices", "Devices of all racks, by role and where they stand: a phase, ready, failed, skipped, waiting or uncertain.", []string{"role", "status"}, nil)
	descAgents    = prometheus.NewDesc("rackreach_fleet_agents", "Agents, by connection: connected or away.", []string{"connection"}, nil)
	descConnected = prometheus.NewDesc("rackreach_agent_connected", "1 while the agent of the rack is connected.", []string{"rack"}, nil)
	descHeard     = prometheus.NewDesc("rackreach_agent_last_heard_timestamp_seconds", "When the agent of the rack was heard of last.", []string{"rack"}, nil)
	descLag       = prometheus.NewDesc("rackreach_agent_lag_events", "Events that the journal of the rack's agent holds and the log does not, as of its last heartbeat.", []string{"rack"}, nil)
	descOrders    = prometheus.NewDesc("rackreach_agent_orders_pending", "Orders that the rack's agent has not answered.", []string{"rack"}, nil)
	descRun       = prometheus.NewDesc("rackreach_fleet_run_duration_seconds", "How long the last run of the rack took, once it has ended.", []string{"rack"}, nil)
	descState     = prometheus.NewDesc("rackreach_fleet_rack_state", "1 for where the rack stands, 0 for the others, as the log says.", []string{"rack", "state"}, nil)
	descStart     = prometheus.NewDesc("rackreach_fleet_run_start_timestamp_seconds", "When the last run of the rack was begun.", []string{"rack"}, nil)
	descBackplane = prometheus.NewDesc("rackreach_fleet_backplane_links", "Links between racks, by state.", []string{"state"}, nil)
	descDepot     = prometheus.NewDesc("rackreach_depot_requests", "Requests of agents for blobs: active (being sent) or waiting for their turn.", []string{"state"}, nil)
	descDepotSent = prometheus.NewDesc("rackreach_depot_sent_bytes_total", "Bytes of blobs that agents were sent.", nil, nil)
	descExpiry    = prometheus.NewDesc("rackreach_certificate_expiry_timestamp_seconds", "When a certificate of this process expires.", []string{"subject"}, nil)
	descBuild     = prometheus.NewDesc("rackreach_build_info", "1; what this program is.", []string{"version", "component"}, nil)
)

// collectLimit bounds how long a scrape waits for the actors.
const collectLimit = 5 * time.Second

// metrics are the coordinator's, as the Fleet knows them when they are asked for.
type metrics struct{ c *Coordinator }

var _ prometheus.Collector = (*metrics)(nil)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRacks, descDevices, descAgents, descConnected, descHeard, descLag, descOrders, descState, descStart, descRun, descBackplane, descDepot, descDepotSent, descExpiry, descBuild} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBuild, 1, m.c.o.Version, "coordinator")
	if s := m.c.keeper.server; s != nil {
		gauge(descExpiry, float64(s.Expires().Unix()), "coordinator")
	}
	if d := m.c.depot; d != nil {
		active, waiting, sent := d.Stand()
		gauge(descDepot, float64(active), "active")
		gauge(descDepot, float64(waiting), "waiting")
		out <- prometheus.MustNewConstMetric(descDepotSent, prometheus.CounterValue, float64(sent))
	}
	if m.c.fleet == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectLimit)
	defer cancel()
	counts, err := actors.Ask[actors.Counts](ctx, m.c.system, m.c.fleet, &actors.GetCounts{})
	if err != nil {
		out <- prometheus.NewInvalidMetric(descRacks, err)
		return
	}
	racks, agents := map[rack.Status]int{}, map[string]int{"connected": 0, "away": 0}
	for _, s := range rack.Statuses() {
		racks[s] = 0
	}
	for _, r := range counts.Racks {
		if r.Status == "" {
			racks[actors.Reading]++
		} else {
			racks[r.Status]++
		}
		connected := 0.0
		if r.Connected {
			connected = 1
			agents["connected"]++
		} else if !r.Heard.IsZero() {
			agents["away"]++
		}
		gauge(descConnected, connected, r.Rack)
		gauge(descLag, float64(r.Lag), r.Rack)
		gauge(descOrders, float64(r.Orders), r.Rack)
		if !r.Heard.IsZero() {
			gauge(descHeard, float64(r.Heard.UnixMilli())/1000, r.Rack)
		}
		for _, s := range rack.Statuses() {
			is := 0.0
			if r.Status == s {
				is = 1
			}
			gauge(descState, is, r.Rack, string(s))
		}
		if !r.Started.IsZero() {
			gauge(descStart, float64(r.Started.UnixMilli())/1000, r.Rack)
		}
		if r.Run > 0 {
			gauge(descRun, r.Run.Seconds(), r.Rack)
		}
	}
	for s, n := range racks {
		gauge(descRacks, float64(n), string(s))
	}
	for c, n := range agents {
		gauge(descAgents, float64(n), c)
	}
	for d, n := range counts.Devices {
		gauge(descDevices, float64(n), string(d.Role), d.Status)
	}
	for s, n := range counts.Backplane {
		gauge(descBackplane, float64(n), string(s))
	}
}
