package rackagent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackreach/rackreach/discovery"
)

// discoverMetrics are the metrics of a rack that is only discovered, besides those of
// its line.
type discoverMetrics struct {
	rack    string
	packets *prometheus.CounterVec
	leases  *leaseMetrics
}

var _ prometheus.Collector = (*discoverMetrics)(nil)

func newDiscoverMetrics(rack string) *discoverMetrics {
	m := &discoverMetrics{rack: rack, packets: newPacketCounter(), leases: newLeaseMetrics(rack)}
	for _, o := range []discovery.Outcome{discovery.Panicked, discovery.MalformedOptions, discovery.IgnoredUnknown, discovery.IgnoredAmbiguous} {
		m.packets.WithLabelValues(rack, "none", string(o))
	}
	return m
}

// dhcp counts one packet.
func (m *discoverMetrics) dhcp(messageType, outcome string) {
	m.packets.WithLabelValues(m.rack, messageType, outcome).Inc()
}

// Describe implements prometheus.Collector.
func (m *discoverMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.packets.Describe(ch)
	m.leases.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *discoverMetrics) Collect(ch chan<- prometheus.Metric) {
	m.packets.Collect(ch)
	m.leases.Collect(ch)
}
