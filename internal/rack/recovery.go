package rack

// Recovery names how a device was made to do what it should and did not. Each is
// bounded: by the retries of its step, or by whoever makes it.
type Recovery string

// The recoveries.
const (
	// SessionRenewed: a BMC had forgotten a session, another one was opened. It is
	// counted only: there is no event of it.
	SessionRenewed Recovery = "session-renewed"
	// PowerAgain: a BMC accepted a power command and did not act; it is sent again.
	PowerAgain Recovery = "power-again"
	// PowerCut: a host did not shut itself down, its power was cut.
	PowerCut Recovery = "power-cut"
	// OverrideAgain: a boot override did not take, by what its BMC reads back or by the
	// host not booting from the network; it is set again.
	OverrideAgain Recovery = "override-again"
	// PowerCycled: a device went silent, after its OFFER or in its installation, or
	// failed there; it is power-cycled.
	PowerCycled Recovery = "power-cycled"
)

// Recoveries lists them.
func Recoveries() []Recovery {
	return []Recovery{SessionRenewed, PowerAgain, PowerCut, OverrideAgain, PowerCycled}
}

// Words say what was done.
func (r Recovery) Words() string {
	switch r {
	case SessionRenewed:
		return "the BMC had forgotten its session, another one was opened"
	case PowerAgain:
		return "the BMC accepted a power command and did not act, the command is sent again"
	case PowerCut:
		return "the host did not shut itself down, its power was cut"
	case OverrideAgain:
		return "the BMC reads back another boot device, or the host did not boot from the network: the override is set again"
	case PowerCycled:
		return "the device is power-cycled"
	}
	return string(r)
}

// recovery is what a retry of the current step does about its failure: a device that
// is silent is not asked again, its power is cycled.
func (m *Machine) recovery() Recovery {
	s := m.platform.Steps[m.step]
	cycles, boots := false, false
	for i := m.retryFrom(m.step); i < m.step; i++ {
		switch x := m.platform.Steps[i]; {
		case x.OnReimage:
		case x.Action == PowerCycle, x.Action == PowerOn:
			cycles = true
		case x.Action == BootPXE:
			boots = true
		}
	}
	switch {
	case !cycles:
		return ""
	case boots && s.Until == DHCPPXE && m.heard <= m.base:
		return OverrideAgain
	}
	return PowerCycled
}

// silent says that a device which is waited for asked for an address and did not
// take the one that it was offered.
func (m *Machine) silent(s Step) string {
	switch s.Until {
	case DHCPPXE, DHCPONIE, DHCPNOS, DHCPOS, FetchedBootLoader:
		if m.heard > m.base {
			return "silent after its OFFER: "
		}
	}
	return ""
}
