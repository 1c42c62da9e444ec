package rack

import (
	"fmt"
	"maps"
	"time"
)

// CommandKind says what a shell must do for a machine.
type CommandKind string

// The commands.
const (
	Do         CommandKind = "do"          // run Action; answer with the input ActionDone
	ArmLimit   CommandKind = "arm-limit"   // after After, the input LimitPassed
	ArmRetry   CommandKind = "arm-retry"   // after After, the input RetryDue
	RaiseFault CommandKind = "raise-fault" // definitive: raise the device's fault with Error
)

// Command is one thing to do. Its Attempt comes back in the answering input, so
// that an answer to an older attempt is recognised and dropped.
type Command struct {
	Kind    CommandKind
	Repeat  bool // Do: the last shell may have done it already: look at the device first
	Step    Step
	Attempt int
	After   time.Duration
	Error   string

	Overwrites string // Do: what the device holds that may be overwritten, as Observation.Holds
}

// InputKind says what happened outside a machine.
type InputKind string

// The inputs. Observations are no input of their own: they are journalled,
// applied, and followed by Woken.
const (
	Woken       InputKind = "woken"        // something was applied, or the gates changed
	Resumed     InputKind = "resumed"      // a shell has just rebuilt the machine: take up what was in flight
	ActionDone  InputKind = "action-done"  // the answer to Do; Error is empty on success
	LimitPassed InputKind = "limit-passed" // the answer to ArmLimit
	RetryDue    InputKind = "retry-due"    // the answer to ArmRetry
	NeverSeen   InputKind = "never-seen"   // the discovery deadline passed without an observation
)

// Input is one thing that happened.
type Input struct {
	Kind    InputKind
	Step    string // ActionDone, LimitPassed, RetryDue: the command's step
	Attempt int    // ActionDone, LimitPassed, RetryDue: the command's
	Final   bool   // ActionDone: no other attempt would do better
	Error   string // ActionDone: what went wrong; NeverSeen: where it was looked for

	Recovery Recovery // ActionDone: what another attempt makes up for; empty: nothing that has a name
}

// mode is where a machine stands inside its current step.
type mode int

const (
	idle      mode = iota // the current step has not started
	running               // started, no result yet
	backoff               // failed, waits for its retry
	exhausted             // failed for good; the fault is to be raised
	finished              // ready, or failed and known to the rack
)

// Machine decides for one device. It is used by one goroutine: Step decides
// without changing what was applied, Apply changes and decides nothing.
//
// The shell's loop is: Step → journal the events → Apply each → carry out the
// commands → Step(Woken), until a Step returns nothing.
type Machine struct {
	rack     string
	device   string
	role     Role
	platform Platform
	image    Image

	decided  uint64 // last event applied that is no observation
	observed uint64 // last observation applied
	mode     mode
	step     int            // index of the current step; len(Steps) when all are completed
	phase    Phase          // last phase started
	closed   bool           // phase was completed
	tried    int            // backoff: index of the step that failed
	starts   []int          // per step: how often it was started
	fails    []int          // per step: how often it failed
	failed   map[Phase]bool // a step of that phase failed before
	base     uint64         // evidence counts when its sequence is greater: the last action, or failure
	since    uint64         // contrary evidence counts when its sequence is greater: what completed the step before
	waited   bool           // the current attempt passed its limit once and waits on
	seen     *Observation   // first observation
	found    bool           // device-discovered was journalled
	evidence map[Evidence]uint64
	said     map[Evidence]string // the device's own words
	heard    uint64              // last time that its host asked for an address; 0: it took one since, or never asked
	tickets  int
	issued   uint64 // the last one
	ticketed bool   // the current attempt of a ticket step has issued its ticket
	reimage  bool   // an operator ordered it, and the installer was not reached since
	foreign  string // what it holds of another run, as it said last
	replaces string // what the device holds that its tickets may overwrite
	held     string
	delay    time.Duration
	err      string // why it is exhausted
	gaveUp   bool   // it failed for good: an order to retry does not just go on

	// Not journalled: lost in a crash and brought back by the shell.
	gates   map[Gate]bool
	against map[Network]string // what speaks against its cables
	due     bool               // the backoff of the current step is over
}

// NewMachine is a machine before its first event. The image is what the plan
// says this device gets.
func NewMachine(rackName string, d *Device, p Platform, image Image) *Machine {
	m := &Machine{rack: rackName, device: d.Name, role: d.Role, platform: p, image: image,
		starts: make([]int, len(p.Steps)), fails: make([]int, len(p.Steps)), failed: map[Phase]bool{},
		evidence: map[Evidence]uint64{}, said: map[Evidence]string{}, gates: map[Gate]bool{}}
	m.step = m.following(0)
	return m
}

// SetGates tells the machine which gates hold; follow it with Step(Woken).
func (m *Machine) SetGates(g map[Gate]bool) { m.gates = maps.Clone(g) }

// Finished reports whether the machine will never decide anything again.
func (m *Machine) Finished() bool { return m.mode == finished }

// Phase is the last phase that was started, or "".
func (m *Machine) Phase() Phase { return m.phase }

// Step decides what follows from an input.
func (m *Machine) Step(in Input) ([]Event, []Command) {
	if m.mode == finished {
		return nil, nil
	}
	switch in.Kind {
	case NeverSeen:
		if m.seen != nil || m.mode == exhausted {
			return m.advance()
		}
		return m.events(m.event(StepFailed, Discovery, Detail{Step: "first-contact", Attempt: 1, Final: true,
			Error: "it was never seen: " + in.Error})), nil
	case ActionDone:
		if s, ok := m.current(in); ok && s.Action != Wait && s.Action != IssueTicket {
			if in.Error != "" {
				return m.unserved(s, in.Error, in.Final, in.Recovery)
			}
			return m.complete(), nil
		}
		return nil, nil
	case LimitPassed:
		if s, ok := m.current(in); ok {
			return m.pass(s)
		}
		return nil, nil
	case RetryDue:
		if m.mode != backoff || in.Step != m.platform.Steps[m.step].Name {
			return nil, nil
		}
		m.due = true
	case Resumed:
		return m.rearm()
	}
	return m.advance()
}

// current is the running step, if that is what the input answers.
func (m *Machine) current(in Input) (Step, bool) {
	if m.mode != running || m.step >= len(m.platform.Steps) {
		return Step{}, false
	}
	s := m.platform.Steps[m.step]
	return s, s.Name == in.Step && m.starts[m.step] == in.Attempt
}

// advance takes the next hop that evidence and gates allow.
func (m *Machine) advance() ([]Event, []Command) {
	if m.mode == exhausted {
		return nil, []Command{{Kind: RaiseFault, Error: m.err}}
	}
	if m.seen == nil {
		return nil, nil
	}
	if !m.found {
		return m.events(m.event(DeviceDiscovered, Discovery, Detail{Seen: m.seen})), nil
	}
	if m.step == len(m.platform.Steps) {
		if !m.closed {
			return m.events(m.event(PhaseCompleted, m.phase, Detail{})), nil
		}
		return m.events(m.event(DeviceReady, "", Detail{Image: m.image.Name, Digest: m.image.Digest})), nil
	}
	s := m.platform.Steps[m.step]
	if s.Phase != m.phase {
		if m.phase != "" && !m.closed {
			return m.events(m.event(PhaseCompleted, m.phase, Detail{})), nil
		}
		return m.events(m.event(PhaseStarted, s.Phase, Detail{})), nil
	}
	switch m.mode {
	case running:
		return m.watch(s)
	case backoff:
		if m.finishedAfterAll() {
			return m.takeUp()
		}
		if !m.due && m.held == "" && m.miscabled(s) == "" {
			return nil, nil
		}
	}
	return m.start(s)
}

// finishedAfterAll reports whether the device, while the retry of its installation waits,
// said that the installation is over: what had spoken against that was a mistake, such
// as a packet that was late on its way.
func (m *Machine) finishedAfterAll() bool {
	ends := m.platform.TicketEnds
	return m.platform.Steps[m.tried].Until == ends && m.proved(ends) > m.base
}

// takeUp goes on in the step that had failed, whose evidence is there: to begin anew would
// be to wait for an installer that has no reason to come.
func (m *Machine) takeUp() ([]Event, []Command) {
	s, attempt := m.platform.Steps[m.tried], m.starts[m.tried]+1
	if m.held != "" {
		return m.events(m.event(DeviceReleased, s.Phase, Detail{Step: s.Name})), nil
	}
	return m.events(m.event(StepStarted, s.Phase, Detail{Step: s.Name, Attempt: attempt})),
		[]Command{{Kind: ArmLimit, Step: s, Attempt: attempt, After: s.Limit}}
}

// start begins the current step once its gates hold.
func (m *Machine) start(s Step) ([]Event, []Command) {
	if why := m.missing(s); why != "" {
		if m.held == why {
			return nil, nil
		}
		return m.events(m.event(DeviceHeld, s.Phase, Detail{Step: s.Name, Reason: why})), nil
	}
	if m.held != "" {
		return m.events(m.event(DeviceReleased, s.Phase, Detail{Step: s.Name})), nil
	}
	attempt := m.starts[m.step] + 1
	cmds := []Command{{Kind: ArmLimit, Step: s, Attempt: attempt, After: s.Limit}}
	if s.Action != Wait && s.Action != IssueTicket {
		cmds = append(cmds, Command{Kind: Do, Step: s, Attempt: attempt, Overwrites: m.replaces})
	}
	return m.events(m.event(StepStarted, s.Phase, Detail{Step: s.Name, Attempt: attempt})), cmds
}

// missing names the first gate that does not hold, for people, or "".
func (m *Machine) missing(s Step) string {
	if why := m.miscabled(s); why != "" {
		return why
	}
	for _, g := range s.Needs {
		if m.gates[g] {
			continue
		}
		switch g {
		case ManagementReady:
			return "the management switch is not ready"
		case ManagementOpen:
			return "nothing was heard yet through its management cable"
		case SwitchesReady:
			return "not all switches of the rack are ready"
		case DataReady:
			return "no switch on its data routes is ready"
		default:
			return "nothing was heard yet through its data cables"
		}
	}
	return ""
}

// watch looks for evidence that ends the running step.
func (m *Machine) watch(s Step) ([]Event, []Command) {
	proved := uint64(0)
	if s.Until != NoEvidence && m.proved(s.Until) > m.base {
		proved = m.proved(s.Until)
	}
	for _, e := range s.Unless {
		// What the device did later counts: a switch that comes up with its
		// system has finished, whatever it said before.
		if e == ReceiptForeign && m.replaces != "" && m.foreign == m.replaces {
			continue // that is what may be overwritten
		}
		if m.evidence[e] > max(m.since, proved) {
			return m.fail(m.refusal(e), e == ReportedRefused || e == ReceiptForeign, "")
		}
	}
	if why := m.inVain(s); why != "" && proved == 0 {
		return m.letGo(why)
	}
	switch {
	case s.Action == IssueTicket && !m.ticketed:
		return m.events(m.event(TicketIssued, s.Phase, Detail{Step: s.Name, Attempt: m.starts[m.step],
			Ticket: fmt.Sprintf("%s/%s/%d", m.rack, m.device, m.tickets+1), Image: m.image.Name, Digest: m.image.Digest, Overwrites: m.replaces})), nil
	case s.Action == IssueTicket, proved > 0:
		return m.complete(), nil
	}
	return nil, nil
}

// proved is the sequence of the newest observation that proves something,
// directly or because it could not be without it. A crash can lose an
// observation between the wire and the journal; what follows from it on the
// device makes up for it.
func (m *Machine) proved(e Evidence) uint64 {
	at := m.evidence[e]
	for _, later := range Implying(e, m.platform.TicketEnds) {
		at = max(at, m.evidence[later])
	}
	return at
}

// refusal puts contrary evidence into words.
func (m *Machine) refusal(e Evidence) string {
	switch e {
	case ReportedFailed:
		return "the device reported: " + m.said[e]
	case ReceiptForeign:
		return "it runs an installed system and is left alone: " + m.said[e]
	case ReportedRefused:
		return "its installer refused: " + m.said[e]
	case DHCPDeclined:
		return "the device declined its address: another machine on the network uses it"
	case DHCPONIE:
		return "the installer did not finish: the switch is back in ONIE"
	}
	return "contrary evidence: " + string(e)
}

func (m *Machine) complete() []Event {
	s := m.platform.Steps[m.step]
	return m.events(m.event(StepCompleted, s.Phase, Detail{Step: s.Name, Attempt: m.starts[m.step]}))
}

// pass handles a limit that went by.
func (m *Machine) pass(s Step) ([]Event, []Command) {
	if s.Destructive && !m.waited {
		return m.events(m.event(StepWaiting, s.Phase, Detail{Step: s.Name, Attempt: m.starts[m.step],
				Reason: fmt.Sprintf("no %s within %s; the device may be writing, so it is left alone", s.Wanted(), s.Limit)})),
			[]Command{{Kind: ArmLimit, Step: s, Attempt: m.starts[m.step], After: s.Limit}}
	}
	limit := s.Limit
	if s.Destructive {
		limit *= 2
	}
	events, commands := m.unserved(s, fmt.Sprintf("%sno %s within %s", m.silent(s), s.Wanted(), limit), s.Destructive, "")
	events[0].Detail.Writing = events[0].Detail.Writing || s.Destructive
	return events, commands
}

// mayWrite reports whether the device may be writing while a step looks at it that is
// no part of its installation: it has fetched the image of its ticket, and did not say
// that it was over. A report may be told before the fetch that it stands for.
func (m *Machine) mayWrite(s Step) bool {
	fetched := m.evidence[FetchedImage]
	reported := max(m.evidence[ReportedInstalled], m.evidence[ReportedFailed], m.evidence[ReportedRefused])
	return s.Phase == Installation && s.Action != Wait && (s.Action.Looks() || s.Action == Request) &&
		fetched > m.issued && fetched > m.evidence[m.platform.TicketEnds] && reported < m.issued
}

// unserved ends an attempt that got no answer: for good where the next one would
// power-cycle a device that may be writing.
func (m *Machine) unserved(s Step, reason string, final bool, recovery Recovery) ([]Event, []Command) {
	writing := m.mayWrite(s)
	events, commands := m.fail(reason, final || writing, recovery)
	events[0].Detail.Writing = writing
	return events, commands
}

// Wanted puts into words what a step needs to be completed.
func (s *Step) Wanted() string {
	if text, ok := s.Until.Line(); ok {
		return fmt.Sprintf("line with %q in its log", text)
	}
	switch s.Action {
	case AwaitPort:
		return fmt.Sprintf("open TCP port %d at its address", s.Port)
	case AwaitARP:
		return "answer to ARP for its address"
	case Request:
		return fmt.Sprintf("answer to %s %s", s.HTTP.Method, s.HTTP.Path)
	}
	switch s.Until {
	case NoEvidence:
		return "answer to " + string(s.Action)
	case DHCPPXE:
		return "network boot request (DHCP) from its firmware"
	case DHCPONIE:
		return "DHCP request from ONIE"
	case DHCPNOS, DHCPOS:
		return "DHCP request from the installed system"
	case FetchedBootLoader:
		return "complete transfer of its boot script"
	case FetchedImage:
		return "complete transfer of its image"
	case ReportedInstalled:
		return "report of the installer"
	}
	return "evidence " + string(s.Until)
}

// backoffCap bounds a retry's delay at this many times the step's Backoff.
const backoffCap = 8

// fail ends an attempt: with a retry while there are any, else for good. The retry is
// a recovery where it makes up for something that has a name.
func (m *Machine) fail(reason string, final bool, recovery Recovery) ([]Event, []Command) {
	s := m.platform.Steps[m.step]
	d := Detail{Step: s.Name, Attempt: m.starts[m.step], Error: reason}
	n := m.fails[m.step]
	if final || n >= s.Retries {
		d.Final = true
		return m.events(m.event(StepFailed, s.Phase, d)), nil
	}
	d.Delay = s.Backoff * time.Duration(min(1<<n, backoffCap))
	if d.Recovery = recovery; recovery == "" {
		d.Recovery = m.recovery()
	}
	to := m.retryFrom(m.step)
	return m.events(m.event(StepFailed, s.Phase, d)),
		[]Command{{Kind: ArmRetry, Step: m.platform.Steps[to], Attempt: m.starts[to], After: d.Delay}}
}

// rearm takes up what was in flight when the last shell ended. Actions are safe
// to repeat, since each reads the state of the device before it changes it; one
// whose effect was seen meanwhile is not repeated.
func (m *Machine) rearm() ([]Event, []Command) {
	if m.step >= len(m.platform.Steps) {
		return nil, nil
	}
	s, attempt := m.platform.Steps[m.step], m.starts[m.step]
	switch m.mode {
	case running:
		acts := s.Action != Wait && s.Action != IssueTicket
		if acts && !s.Action.Looks() && m.seenEffect() {
			return m.complete(), nil
		}
		cmds := []Command{{Kind: ArmLimit, Step: s, Attempt: attempt, After: s.Limit}}
		if acts {
			cmds = append(cmds, Command{Kind: Do, Step: s, Attempt: attempt, Repeat: true, Overwrites: m.replaces})
		}
		return nil, cmds
	case backoff:
		return nil, []Command{{Kind: ArmRetry, Step: s, Attempt: attempt, After: m.delay}}
	}
	return nil, nil
}

// seenEffect reports whether what the running action was to bring about was
// observed since it started: what the step right after it waits for.
func (m *Machine) seenEffect() bool {
	next := m.following(m.step + 1)
	if next >= len(m.platform.Steps) {
		return false
	}
	s := m.platform.Steps[next]
	_, forgeable := s.Until.Line()
	return s.Phase == m.phase && s.Action == Wait && !forgeable && m.proved(s.Until) > m.base
}

func (m *Machine) event(k Kind, p Phase, d Detail) Event {
	return Event{Rack: m.rack, Device: m.device, Role: m.role, Kind: k, Phase: p, Detail: d}
}

func (m *Machine) events(e ...Event) []Event { return e }
