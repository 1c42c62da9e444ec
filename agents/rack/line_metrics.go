package rackagent

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// lineMetrics are the metrics of a real interface. Labels are words of the engine;
// never a MAC or an address that a stranger can choose.
type lineMetrics struct {
	rack    string
	foreign *prometheus.CounterVec
	adverts *prometheus.CounterVec
	drops   *prometheus.Desc
	dropped atomic.Value // func() uint64
}

var _ prometheus.Collector = (*lineMetrics)(nil)

func newLineMetrics(rack string) *lineMetrics {
	m := &lineMetrics{
		rack: rack,
		foreign: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_dhcp_foreign_messages_total", Help: "DHCP messages of servers that are not ours, by whether an operator allowed that server or dhcp.mode is proxy, or it is the agent of another rack of the fleet."},
			[]string{"rack", "allowed"}),
		adverts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_router_advertisements_total", Help: "IPv6 router advertisements that say that there is no router, by whether a node asked and by outcome."},
			[]string{"rack", "asked", "outcome"}),
		drops: prometheus.NewDesc("rackreach_dhcp_receive_drops_total", "DHCP packets that the kernel dropped because nobody read them in time.", []string{"rack"}, nil),
	}
	for _, allowed := range []string{"yes", "no", "sibling"} {
		m.foreign.WithLabelValues(rack, allowed)
	}
	return m
}

// overheard counts a message of another server. allowed is yes, no or sibling.
func (m *lineMetrics) overheard(allowed string) {
	m.foreign.WithLabelValues(m.rack, allowed).Inc()
}

// advertised counts a router advertisement.
func (m *lineMetrics) advertised(asked, sent bool) {
	outcome := "sent"
	if !sent {
		outcome = "failed"
	}
	m.adverts.WithLabelValues(m.rack, yes(asked), outcome).Inc()
}

// Describe implements prometheus.Collector.
func (m *lineMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.drops
	m.foreign.Describe(ch)
	m.adverts.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *lineMetrics) Collect(ch chan<- prometheus.Metric) {
	var n uint64
	if f, ok := m.dropped.Load().(func() uint64); ok {
		n = f()
	}
	ch <- prometheus.MustNewConstMetric(m.drops, prometheus.CounterValue, float64(n), m.rack)
	m.foreign.Collect(ch)
	m.adverts.Collect(ch)
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
