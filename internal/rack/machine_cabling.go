package rack

import "maps"

// SetCabling tells the machine what speaks against the cables of its device, in words,
// by network; follow it with Step(Woken).
func (m *Machine) SetCabling(against map[Network]string) { m.against = maps.Clone(against) }

// miscabled is why a step must not start while something speaks against the device's
// cables, or "". A BMC that may be another device's is not told to do anything; a server
// whose packets came through another's port is booted, which shows where it is, but
// gets no ticket.
func (m *Machine) miscabled(s Step) string {
	switch s.Action {
	case BootPXE, PowerOn, PowerCycle:
		if why := m.against[Management]; why != "" {
			return why
		}
		if m.mode != backoff {
			return ""
		}
	case IssueTicket:
		if why := m.against[Management]; why != "" {
			return why
		}
	case Wait: // broken off once, it is not begun again before its cables agree
		if m.mode == backoff {
			return m.inVain(s)
		}
		return ""
	default:
		if m.mode == backoff { // it was let go: it is not begun again in vain
			return m.inVain(s)
		}
		return ""
	}
	return m.against[Data]
}

// inVain is why a running step waits for what cannot come, or must not: the device does
// not get an answer at a port that is another's; or "". Nobody writes in such a step.
func (m *Machine) inVain(s Step) string {
	if s.Action != Wait || s.Destructive || s.Phase != Discovery && s.Until != FetchedBootLoader {
		return ""
	}
	if why := m.against[Data]; why != "" {
		return why
	}
	return m.against[Management]
}

// letGo ends an attempt that the cables were in the way of. It is not counted: the
// device did nothing wrong.
func (m *Machine) letGo(why string) ([]Event, []Command) {
	s := m.platform.Steps[m.step]
	to := m.retryFrom(m.step)
	return m.events(m.event(StepFailed, s.Phase, Detail{Step: s.Name, Attempt: m.starts[m.step], Error: why, Reason: "its cables", Delay: s.Backoff})),
		[]Command{{Kind: ArmRetry, Step: m.platform.Steps[to], Attempt: m.starts[to], After: s.Backoff}}
}
