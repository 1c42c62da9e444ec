package rackagent

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackreach/rackreach/discovery/lease"
)

// leaseMetrics tell of the leases of DHCP.
type leaseMetrics struct {
	rack                 string
	store                atomic.Pointer[lease.Store] // nil: nothing is served yet
	count, syncs, failed *prometheus.Desc
}

var _ prometheus.Collector = (*leaseMetrics)(nil)

func newLeaseMetrics(rack string) *leaseMetrics {
	return &leaseMetrics{
		rack:   rack,
		count:  prometheus.NewDesc("rackreach_dhcp_leases", "Addresses whose lease DHCP keeps, whatever became of it.", []string{"rack"}, nil),
		syncs:  prometheus.NewDesc("rackreach_dhcp_lease_syncs_total", "Syncs of the disk that made leases durable before they were acknowledged.", []string{"rack"}, nil),
		failed: prometheus.NewDesc("rackreach_dhcp_lease_commits_failed_total", "Commits of leases that failed: nothing of them was acknowledged.", []string{"rack"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *leaseMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.count, m.syncs, m.failed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *leaseMetrics) Collect(ch chan<- prometheus.Metric) {
	var s lease.Stats
	if store := m.store.Load(); store != nil {
		s = store.Stats()
	}
	ch <- prometheus.MustNewConstMetric(m.count, prometheus.GaugeValue, float64(s.Leases), m.rack)
	ch <- prometheus.MustNewConstMetric(m.syncs, prometheus.CounterValue, float64(s.Syncs), m.rack)
	ch <- prometheus.MustNewConstMetric(m.failed, prometheus.CounterValue, float64(s.Failed), m.rack)
}
