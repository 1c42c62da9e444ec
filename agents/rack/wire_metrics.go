package rackagent

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackreach/rackreach/discovery"
)

// wireMetrics are the metrics of a real interface. Labels are words of the engine;
// never a MAC or an address that a stranger can choose.
type wireMetrics struct {
	rack    string
	packets *prometheus.CounterVec
	foreign *prometheus.CounterVec
	adverts *prometheus.CounterVec
	leases  *leaseMetrics
	drops   *prometheus.Desc
	dropped atomic.Value // func() uint64
}

var _ prometheus.Collector = (*wireMetrics)(nil)

func newWireMetrics(rack string) *wireMetrics {
	m := &wireMetrics{
		rack:    rack,
		packets: newPacketCounter(),
		leases:  newLeaseMetrics(rack),
		foreign: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_dhcp_foreign_messages_total", Help: "DHCP messages of servers that are not ours, by whether an operator allowed that server."},
			[]string{"rack", "allowed"}),
		adverts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_router_advertisements_total", Help: "IPv6 router advertisements that say that there is no router, by whether a node asked and by outcome."},
			[]string{"rack", "asked", "outcome"}),
		drops: prometheus.NewDesc("rackreach_dhcp_receive_drops_total", "DHCP packets that the kernel dropped because nobody read them in time.", []string{"rack"}, nil),
	}
	for _, o := range []discovery.Outcome{discovery.Panicked, discovery.MalformedOptions, discovery.IgnoredUnknown, discovery.IgnoredAmbiguous} {
		m.packets.WithLabelValues(rack, "none", string(o))
	}
	for _, allowed := range []string{"yes", "no"} {
		m.foreign.WithLabelValues(rack, allowed)
	}
	return m
}

// overheard counts a message of another server.
func (m *wireMetrics) overheard(allowed bool) {
	m.foreign.WithLabelValues(m.rack, yes(allowed)).Inc()
}

// advertised counts a router advertisement.
func (m *wireMetrics) advertised(asked, sent bool) {
	outcome := "sent"
	if !sent {
		outcome = "failed"
	}
	m.adverts.WithLabelValues(m.rack, yes(asked), outcome).Inc()
}

// yes is a truth as a label.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// newPacketCounter counts what became of each packet, by its message type.
func newPacketCounter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_dhcp_packets_total", Help: "DHCP packets received, by message type and what became of them."},
		[]string{"rack", "type", "outcome"})
}

// dhcp counts one packet.
func (m *wireMetrics) dhcp(messageType, outcome string) {
	m.packets.WithLabelValues(m.rack, messageType, outcome).Inc()
}

// Describe implements prometheus.Collector.
func (m *wireMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.drops
	m.packets.Describe(ch)
	m.foreign.Describe(ch)
	m.adverts.Describe(ch)
	m.leases.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *wireMetrics) Collect(ch chan<- prometheus.Metric) {
	var n uint64
	if f, ok := m.dropped.Load().(func() uint64); ok {
		n = f()
	}
	ch <- prometheus.MustNewConstMetric(m.drops, prometheus.CounterValue, float64(n), m.rack)
	m.packets.Collect(ch)
	m.foreign.Collect(ch)
	m.adverts.Collect(ch)
	m.leases.Collect(ch)
}
