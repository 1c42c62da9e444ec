package rack

import (
	"strings"
	"time"
)

// Action is something that rackreach does to a device in a step.
type Action string

// The actions. The empty action only waits for evidence.
const (
	Wait         Action = ""
	BMCLogin     Action = "bmc-login"     // open an IPMI session, read GUID and power state
	BootPXE      Action = "boot-device"   // next boot from the network, read back
	PowerOn      Action = "power-on"      // power on, read back; a host that is on is left alone
	PowerCycle   Action = "power-cycle"   // power off if it is on, then on, each read back
	IssueTicket  Action = "ticket"        // the right to one destructive job, journalled before anything is served
	PushConfig   Action = "configuration" // send the configuration to the device
	VerifyDevice Action = "verify"        // ask the device what it runs and compare
	// BootInstaller sends an installed switch back into its installer
	// environment (ONIE's onie-select), where its system answers.
	BootInstaller Action = "boot-installer"
	// AwaitPort and AwaitARP look at the device, again and again, until something
	// listens at a port of its address, or its address is answered for by ARP. They
	// change nothing.
	AwaitPort Action = "port"
	AwaitARP  Action = "arp"
	Request   Action = "http" // one request to the device over HTTP (Step.HTTP)
)

// Looks reports whether an action changes nothing on the device: what was observed
// before it counts after it.
func (a Action) Looks() bool { return a == Wait || a == AwaitPort || a == AwaitARP }

// Gate is a condition of the network that a step waits for before it starts.
type Gate string

// The gates of design §3.
const (
	// ManagementReady: every switch on the management route of the device is
	// ready.
	ManagementReady Gate = "management-ready"
	// ManagementOpen: a packet from the device's management end was seen
	// after its route became ready.
	ManagementOpen Gate = "management-open"
	// SwitchesReady: every switch of the rack is ready.
	SwitchesReady Gate = "switches-ready"
	// DataReady: every switch on a data route of the device is ready.
	DataReady Gate = "data-ready"
	// DataOpen: the device's own packet came through a ready data route.
	DataOpen Gate = "data-open"
)

// AllGates lists them.
func AllGates() []Gate {
	return []Gate{ManagementReady, ManagementOpen, SwitchesReady, DataReady, DataOpen}
}

// Stage is the boot stage that a DHCP packet's vendor strings give away.
type Stage string

// The boot stages that discovery tells apart (protocol facts §1).
const (
	StageUnknown  Stage = "unknown"
	StagePXE      Stage = "pxe"       // firmware PXE ROM
	StageIPXE     Stage = "ipxe"      // iPXE, chained or in ROM
	StageHTTPBoot Stage = "http-boot" // UEFI HTTP boot
	StageONIE     Stage = "onie"      // ONIE waiting for an installer
	StageNOS      Stage = "nos"       // a network operating system
	StageOS       Stage = "os"        // an installed operating system
	StageBMC      Stage = "bmc"       // a board controller
)

// Evidence is what an observation proves, "source:what".
type Evidence string

// Evidence that steps wait for. DHCP evidence counts when the address was
// acknowledged, not when it was asked for; beside a DHCP server of the site, whose
// acknowledgements are not heard, when the address of the slot was asked for.
const (
	NoEvidence Evidence = ""
	DHCPBMC    Evidence = "dhcp:bmc"
	DHCPPXE    Evidence = "dhcp:pxe"
	DHCPONIE   Evidence = "dhcp:onie"
	DHCPNOS    Evidence = "dhcp:nos"
	DHCPOS     Evidence = "dhcp:os"
	// DHCPUnnamed: a client that was started anew took its address, names no boot stage,
	// and is no firmware and no installer that is known. Most systems have such a client.
	// By itself it proves nothing, and no step waits for it: see Run.OwnSystem.
	DHCPUnnamed       Evidence = "dhcp:unnamed"
	DHCPDeclined      Evidence = "dhcp:declined"
	FetchedBootLoader Evidence = "fetched:boot-loader"
	FetchedImage      Evidence = "fetched:image"
	ReportedInstalled Evidence = "reported:installed"
	ReportedFailed    Evidence = "reported:failed"
	// ReportedRefused: the disk holds something that the job does not name.
	ReportedRefused Evidence = "reported:refused"
	// ReceiptForeign: the device answered at its own address before anything was
	// done to it, and its receipt is not of this run.
	ReceiptForeign Evidence = "receipt:foreign"
	// ReceiptFound: the device answered at its own address, and its receipt is
	// that of its last ticket.
	ReceiptFound Evidence = "receipt:found"
)

// Evidences lists all evidence that a step may wait for.
func Evidences() []Evidence {
	return []Evidence{DHCPBMC, DHCPPXE, DHCPONIE, DHCPNOS, DHCPOS, DHCPDeclined, FetchedBootLoader, FetchedImage, ReportedInstalled, ReportedFailed, ReportedRefused, ReceiptForeign, ReceiptFound}
}

// Implying lists the evidence that cannot be without e: an installer that
// reports the end of its job has read its image, a device whose receipt is that
// of its ticket runs what it was given. ends is the platform's TicketEnds.
func Implying(e, ends Evidence) []Evidence {
	switch e {
	case FetchedBootLoader:
		return []Evidence{FetchedImage, ReportedInstalled, ReceiptFound, ends}
	case FetchedImage:
		return []Evidence{ReportedInstalled, ReceiptFound, ends}
	case ReportedInstalled, DHCPNOS, DHCPOS:
		return []Evidence{ReceiptFound}
	}
	if _, ok := e.Line(); ok {
		return []Evidence{ReceiptFound}
	}
	return nil
}

// saidPrefix begins the evidence that a device logged a line with a text in it.
const saidPrefix = "syslog:"

// Said is the evidence that a device logged a line with a text in it.
func Said(text string) Evidence { return Evidence(saidPrefix + text) }

// Line is the text that a device is to log; false for any other evidence.
func (e Evidence) Line() (text string, ok bool) { return strings.CutPrefix(string(e), saidPrefix) }

// OnWire is the first step that needs more of the network than a simulated rack has:
// ARP, and the logs of devices. Nil: there is none.
func (p *Platform) OnWire() *Step {
	for i := range p.Steps {
		s := &p.Steps[i]
		if _, said := s.Until.Line(); said || s.Action == AwaitARP {
			return s
		}
	}
	return nil
}

// Lines are the texts of which a step of the platform waits for one in the device's log.
func (p *Platform) Lines() (out []string) {
	for i := range p.Steps {
		if text, ok := p.Steps[i].Until.Line(); ok {
			out = append(out, text)
		}
	}
	return out
}

// Step is one retryable unit of a phase.
type Step struct {
	Name   string
	Phase  Phase
	Action Action
	Needs  []Gate     // all must hold before the step starts
	Until  Evidence   // completes the step; empty: the action's own result does
	Unless []Evidence // any of these, after the step's start, fails it
	// SSH is what PushConfig and VerifyDevice say to the device; nil: they speak the
	// management API of a simulated device.
	SSH   *Exchange     `json:",omitzero"`
	HTTP  *WebRequest   `json:",omitzero"` // of Request
	Port  uint16        `json:",omitzero"` // of AwaitPort
	Limit time.Duration // of one attempt; always set

	Retries int           // attempts after the first
	Backoff time.Duration // before the first retry; doubles, at most 8 times the base
	Weight  int           // share of the device's progress

	// Destructive: the device may be writing. A time-out then waits once more
	// and gives up; it is never an occasion to power-cycle (retries are for
	// failures that the device itself made known).
	Destructive bool
	// Uninterruptible: runs to its end even when the rack is halted meanwhile.
	Uninterruptible bool
	// RetryFrom names the step of the same phase that a retry starts at;
	// empty: this one.
	RetryFrom string
	// OnRetry: the step is passed over unless a step of its phase failed before.
	OnRetry bool
	// OnReimage: the step is passed over unless the device is imaged anew while
	// an installed system runs on it.
	OnReimage bool
}

// Match says which devices a platform fits.
type Match struct {
	Stages   []Stage  // every boot stage that such a device goes through
	Machines []string // exact Observation.Model values it may have; empty: any
}

// Platform is how one kind of hardware and software is discovered, installed
// and configured. Steps stand in the order of their phases.
type Platform struct {
	Name        string
	Roles       []Role
	Description string
	Match       Match
	Image       string // default image name
	// Provision is what its system asks for at its first boot; nil: nothing.
	Provision *Provision `json:",omitzero"`
	// MarksPorts: a switch of the platform inserts DHCP option 82 once it is configured,
	// so that it is known through which of its ports a server is heard. Nothing is decided
	// by it: who does not is told of (Unmarked).
	MarksPorts bool `json:"-"`
	// Installer is what installs devices of the platform, as they must say themselves
	// (Device.Install); empty: whichever they name.
	Installer  Installer `json:",omitzero"`
	TicketEnds Evidence  // evidence that the destructive job is over
	Steps      []Step

	Neighbours *Ask `json:",omitzero"` // nil: it is not asked whom it hears by LLDP
	MACs       *Ask `json:",omitzero"` // nil: nor which stations it has heard
}

// Fits reports whether the platform may be used for a role.
func (p *Platform) Fits(r Role) bool {
	for _, x := range p.Roles {
		if x == r {
			return true
		}
	}
	return false
}

// Scaled returns the platform with every limit and backoff divided by speed,
// but no limit below floor, and no backoff and no time to confirm below floor/20: a simulation runs
// faster than a rack, the machine it runs on does not.
func (p Platform) Scaled(speed float64, floor time.Duration) Platform {
	steps := make([]Step, len(p.Steps))
	copy(steps, p.Steps)
	for i := range steps {
		steps[i].Limit = max(time.Duration(float64(steps[i].Limit)/speed), floor)
		steps[i].Backoff = max(time.Duration(float64(steps[i].Backoff)/speed), floor/20)
		if x := steps[i].SSH; x != nil && x.RevertAfter > 0 {
			scaled := *x
			scaled.RevertAfter = max(time.Duration(float64(x.RevertAfter)/speed), floor/20)
			steps[i].SSH = &scaled
		}
	}
	p.Steps = steps
	return p
}

// Image is what a plan says about one image.
type Image struct {
	Name   string
	Digest string // "sha256:" and 64 hex digits
	Size   int64  // bytes
}
