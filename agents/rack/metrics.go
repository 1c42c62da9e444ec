package rackagent

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/syslog"
)

// metrics are the Prometheus metrics of one agent, made from the events of its
// journal. Labels are slot names, roles and words of the core; never a MAC, a
// serial or anything else that a stranger can choose.
type metrics struct {
	rack     *rack.Rack
	transfer func(device string) (sent, size int64)
	// installing is what the installer of a device says, if it said anything.
	installing func(device string) (*job.Progress, *job.Hardware)
	dropped    func() uint64 // set before the first event

	devices  *prometheus.Desc
	wrong    *prometheus.Desc
	progress *prometheus.Desc
	state    *prometheus.Desc
	drops    *prometheus.Desc
	sent     *prometheus.Desc
	written  *prometheus.Desc
	checked  *prometheus.Desc
	problems *prometheus.Desc
	steps    *prometheus.HistogramVec
	failures *prometheus.CounterVec
	retries  *prometheus.CounterVec
	packets  *prometheus.CounterVec
	lines    *prometheus.CounterVec
	recovery *prometheus.CounterVec
	leases   *leaseMetrics

	mu      sync.Mutex
	run     *rack.Run
	started map[string]time.Time // by slot: its running step
}

var _ prometheus.Collector = (*metrics)(nil)

// stepBuckets reach from a BMC's answer to the writing of a large image, seconds.
var stepBuckets = []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600}

func newMetrics(r *rack.Rack, platforms map[string]rack.Platform, transfer func(string) (int64, int64), installing func(string) (*job.Progress, *job.Hardware)) *metrics {
	step := []string{"rack", "role", "phase", "step"}
	m := &metrics{
		rack: r, transfer: transfer, installing: installing, dropped: func() uint64 { return 0 },
		devices:  prometheus.NewDesc("rackreach_devices", "Devices by role and by the phase that they are in.", []string{"rack", "role", "phase"}, nil),
		wrong:    prometheus.NewDesc("rackreach_devices_miscabled", "Devices that are held because what was heard contradicts their cables.", []string{"rack"}, nil),
		progress: prometheus.NewDesc("rackreach_device_progress_ratio", "Share of a device's work that is done, by the weights of its steps, 0 to 1.", []string{"rack", "device", "role"}, nil),
		state:    prometheus.NewDesc("rackreach_rack_state", "1 for the state that the rack is in, 0 for the others.", []string{"rack", "state"}, nil),
		drops:    prometheus.NewDesc("rackreach_observations_dropped_total", "Observations that were dropped because the agent could not keep up.", []string{"rack"}, nil),
		sent:     prometheus.NewDesc("rackreach_image_sent_bytes", "Bytes of its image that a device was sent under its last ticket.", []string{"rack", "device", "role"}, nil),
		written:  prometheus.NewDesc("rackreach_installer_written_bytes", "Raw bytes of its image that rackreach's installer has written on a device's disk, under its last ticket.", []string{"rack", "device", "role"}, nil),
		checked:  prometheus.NewDesc("rackreach_installer_checked_bytes", "Raw bytes of its image that the disk has given back as they were signed, under its last ticket.", []string{"rack", "device", "role"}, nil),
		problems: prometheus.NewDesc("rackreach_installer_problems", "What rackreach's installer could not do for a device's machine, such as a module that it has not.", []string{"rack", "device", "role"}, nil),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rackreach_step_duration_seconds", Help: "Duration of attempts of steps that were completed.",
			Buckets: stepBuckets}, step),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_step_failures_total", Help: "Attempts of steps that failed."}, step),
		retries:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_step_retries_total", Help: "Failed attempts of steps that were followed by another."}, step),
		lines:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_syslog_lines_total", Help: "Lines that devices logged over the network, by what became of them."}, []string{"rack", "outcome"}),
		recovery: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rackreach_recoveries_total", Help: "How devices were made to do what they should and did not: commands and boot overrides repeated, power cycled or cut, sessions renewed."}, []string{"rack", "device", "recovery"}),
		packets:  newPacketCounter(), leases: newLeaseMetrics(r.Name),
		run: rack.NewRun(r, platforms), started: map[string]time.Time{},
	}
	m.zero(platforms)
	return m
}

// zero makes the counters that may go up known from the first scrape on: an
// increase from nothing is none to Prometheus.
func (m *metrics) zero(platforms map[string]rack.Platform) {
	for i := range m.rack.Devices {
		d := &m.rack.Devices[i]
		for _, s := range platforms[d.Platform].Steps {
			labels := []string{m.rack.Name, string(d.Role), string(s.Phase), s.Name}
			m.failures.WithLabelValues(labels...)
			m.retries.WithLabelValues(labels...)
		}
	}
	for i := range m.rack.Devices {
		if d := &m.rack.Devices[i]; d.BMC != nil {
			for _, r := range rack.Recoveries() {
				m.recovery.WithLabelValues(m.rack.Name, d.Name, string(r))
			}
		}
	}
	for _, o := range syslog.Outcomes() {
		m.lines.WithLabelValues(m.rack.Name, string(o))
	}
	for _, o := range []discovery.Outcome{discovery.Panicked, discovery.MalformedOptions, discovery.IgnoredUnknown, discovery.IgnoredAmbiguous} {
		m.packets.WithLabelValues(m.rack.Name, "none", string(o))
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.devices, m.wrong, m.progress, m.state, m.drops, m.sent, m.written, m.checked, m.problems} {
		ch <- d
	}
	for _, c := range []prometheus.Collector{m.steps, m.failures, m.retries, m.packets, m.lines, m.recovery, m.leases} {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectRun(ch)
	m.steps.Collect(ch)
	m.failures.Collect(ch)
	m.retries.Collect(ch)
	m.packets.Collect(ch)
	m.lines.Collect(ch)
	m.recovery.Collect(ch)
	m.leases.Collect(ch)
}

func (m *metrics) collectRun(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{m.rack.Name}, labels...)...)
	}
	count := map[rack.Role]map[rack.DeviceStatus]int{}
	for _, role := range rack.Roles() {
		count[role] = map[rack.DeviceStatus]int{}
	}
	miscabled := 0
	for i := range m.rack.Devices {
		d := &m.rack.Devices[i]
		if strings.HasPrefix(m.run.Device(d.Name).Held, rack.CablingReason) {
			miscabled++
		}
		sent, size := m.transfer(d.Name)
		count[d.Role][m.run.Device(d.Name).Status]++
		gauge(m.progress, m.run.Progress(d.Name, sent, size), d.Name, string(d.Role))
		gauge(m.sent, float64(sent), d.Name, string(d.Role))
		p, h := m.installing(d.Name)
		if p != nil {
			gauge(m.written, float64(p.Written), d.Name, string(d.Role))
			gauge(m.checked, float64(p.Checked), d.Name, string(d.Role))
		}
		if h != nil {
			gauge(m.problems, float64(len(h.Problems)), d.Name, string(d.Role))
		}
	}
	for _, role := range rack.Roles() {
		for _, s := range rack.DeviceStatuses() {
			gauge(m.devices, float64(count[role][s]), string(role), string(s))
		}
	}
	gauge(m.wrong, float64(miscabled))
	for _, s := range rack.Statuses() {
		is := 0.0
		if m.run.Status == s {
			is = 1
		}
		gauge(m.state, is, string(s))
	}
	ch <- prometheus.MustNewConstMetric(m.drops, prometheus.CounterValue, float64(m.dropped()), m.rack.Name)
}

// observe takes in one event of the journal.
func (m *metrics) observe(e rack.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.run.Apply(e)
	if r := e.Detail.Recovery; r != "" {
		m.recovery.WithLabelValues(m.rack.Name, e.Device, string(r)).Inc()
	}
	step := []string{e.Rack, string(e.Role), string(e.Phase), e.Detail.Step}
	switch e.Kind {
	case rack.StepStarted:
		m.started[e.Device] = e.Time
	case rack.StepCompleted:
		m.steps.WithLabelValues(step...).Observe(e.Time.Sub(m.started[e.Device]).Seconds())
	case rack.StepFailed:
		m.failures.WithLabelValues(step...).Inc()
		if !e.Detail.Final {
			m.retries.WithLabelValues(step...).Inc()
		}
	}
}

// dhcp counts one packet.
func (m *metrics) dhcp(messageType, outcome string) {
	m.packets.WithLabelValues(m.rack.Name, messageType, outcome).Inc()
}
