package rack

import (
	"fmt"
)

// retryFrom is the step that a retry of step i starts at.
func (m *Machine) retryFrom(i int) int {
	s := m.platform.Steps[i]
	for n := range m.platform.Steps {
		if t := &m.platform.Steps[n]; s.RetryFrom != "" && t.Name == s.RetryFrom && t.Phase == s.Phase {
			return n
		}
	}
	return i
}

// Apply changes the state by one event of this device, whoever wrote it, and
// reports whether it did. What was observed and what was decided come each in
// the order of the journal, but one may overtake the other on its way here; an
// event that was applied before is refused. One without a sequence is always
// taken.
func (m *Machine) Apply(e Event) bool {
	last := &m.decided
	if e.Kind == Observed {
		last = &m.observed
	}
	if e.Seq != 0 && e.Seq <= *last {
		return false
	}
	*last = max(*last, e.Seq)
	switch e.Kind {
	case Observed:
		m.observe(e)
	case DeviceDiscovered:
		m.found = true
	case PhaseStarted:
		m.phase, m.closed = e.Phase, false
	case PhaseCompleted:
		m.closed = true
	case DeviceHeld:
		m.held = e.Detail.Reason
	case DeviceReleased:
		m.held = ""
		if m.mode == backoff {
			m.due = true
		}
	case StepStarted:
		if m.mode == backoff && e.Detail.Step == m.platform.Steps[m.tried].Name {
			m.step = m.tried // see takeUp
		}
		m.mode, m.waited, m.ticketed, m.due = running, false, false, false
		m.starts[m.step] = e.Detail.Attempt
		if !m.platform.Steps[m.step].Action.Looks() {
			m.base, m.since = e.Seq, e.Seq
		}
	case StepWaiting:
		m.waited = true
	case TicketIssued:
		m.tickets++
		m.ticketed, m.issued = true, e.Seq
	case StepCompleted:
		m.mode = idle
		// A device may contradict what completed this step before the next one
		// has started: its word counts from the evidence on, not from the step.
		// What implies the evidence is as good: what came before it is older news.
		m.since = max(m.since, m.proved(m.platform.Steps[m.step].Until))
		m.step = m.following(m.step + 1)
	case StepFailed:
		m.failure(e)
	case DeviceReady, DeviceSkipped:
		m.mode = finished
	case DeviceFailed:
		m.mode, m.gaveUp = finished, true
	case DeviceRetried:
		m.again(e)
	case ReimageOrdered:
		m.replaces, m.reimage = e.Detail.Overwrites, true
		m.fromStart(e)
	case DeviceReplaced:
		m.seen, m.found, m.evidence, m.said = nil, false, map[Evidence]uint64{}, map[Evidence]string{}
		m.replaces, m.reimage = "", false
		m.fromStart(e)
	}
	return true
}

// again forgets a failure: the device goes on where a retry of the failed step
// would have, with all attempts of its phase before it. One that was skipped goes
// on in the step where it was: what it did meanwhile counts. One that was neither
// is uncertain, and goes on where its journal ends: it may be writing.
func (m *Machine) again(e Event) {
	if m.mode != exhausted && m.mode != finished {
		m.held = "" // its cables were looked at
		return
	}
	failed := m.gaveUp
	m.mode, m.err, m.due, m.held, m.waited, m.gaveUp = idle, "", false, "", false, false
	if !failed {
		return
	}
	m.base, m.since = e.Seq, e.Seq
	if m.step == len(m.platform.Steps) {
		return
	}
	phase := m.platform.Steps[m.step].Phase
	for i := range m.platform.Steps {
		if m.platform.Steps[i].Phase == phase {
			m.fails[i] = 0
		}
	}
	if phase == m.phase {
		m.failed[phase] = true
		m.step = m.retryFrom(m.step)
	}
}

// fromStart sends the device through all phases again.
func (m *Machine) fromStart(e Event) {
	m.mode, m.err, m.due, m.held, m.waited, m.ticketed, m.gaveUp = idle, "", false, "", false, false, false
	m.base, m.since = e.Seq, e.Seq
	m.phase, m.closed = "", false
	clear(m.failed)
	clear(m.fails)
	m.step = m.following(0)
	m.reimage = false
}

func (m *Machine) observe(e Event) {
	if m.seen == nil {
		m.seen = e.Detail.Seen
	}
	if e.Detail.Seen.Proves == ReceiptForeign {
		m.foreign = e.Detail.Seen.Holds
	}
	if o := e.Detail.Seen; o.Source == FromDHCP && o.Stage != StageBMC {
		m.heard = 0
		if o.Address == "" {
			m.heard = e.Seq
		}
	}
	if p := e.Detail.Seen.Proves; p != NoEvidence {
		m.evidence[p] = max(m.evidence[p], e.Seq)
		m.said[p] = e.Detail.Seen.Message
	}
}

func (m *Machine) failure(e Event) {
	if e.Detail.Final {
		m.mode, m.gaveUp = exhausted, true
		m.err = fmt.Sprintf("%s failed at step %s: %s", e.Phase, e.Detail.Step, e.Detail.Error)
		return
	}
	if e.Detail.Reason == "" { // else it is no fault of the device
		m.fails[m.step]++
	}
	m.failed[m.platform.Steps[m.step].Phase] = true
	m.mode, m.due, m.delay, m.tried = backoff, false, e.Detail.Delay, m.step
	m.base, m.since = e.Seq, e.Seq
	m.step = m.retryFrom(m.step)
}

// following is the first step from i on that is not passed over.
func (m *Machine) following(i int) int {
	for i < len(m.platform.Steps) && m.passedOver(m.platform.Steps[i]) {
		i++
	}
	return i
}

func (m *Machine) passedOver(s Step) bool {
	return s.OnRetry && !m.failed[s.Phase] || s.OnReimage && !(m.reimage && m.installed())
}

// installed reports whether a system was the last thing that spoke on the
// device, and not its installer environment.
func (m *Machine) installed() bool {
	return max(m.evidence[DHCPNOS], m.evidence[DHCPOS], m.evidence[ReceiptFound], m.evidence[ReceiptForeign]) > m.evidence[DHCPONIE]
}
