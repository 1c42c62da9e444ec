package rack

import "time"

// Kind is the kind of an event, in the words that users and JSON lines see.
type Kind string

// The events of a run. After each the actor that writes it: every kind has
// exactly one writer, so that copies of the state agree whatever the order in
// which two writers' events interleave.
const (
	RackStarted        Kind = "rack-started"        // Agent
	Observed           Kind = "observed"            // Agent
	ComponentAmbiguous Kind = "component-ambiguous" // Agent
	LinkOpen           Kind = "link-open"           // Agent
	LinkClosed         Kind = "link-closed"         // Agent
	RackResumed        Kind = "rack-resumed"        // Agent
	RackDraining       Kind = "rack-draining"       // Agent
	RackHalted         Kind = "rack-halted"         // Agent
	RackCompleted      Kind = "rack-completed"      // Agent
	NeighbourSeen      Kind = "neighbour-seen"      // Agent: what stands at the far end of a cable between switches, when it changes
	DeviceSaid         Kind = "device-said"         // Agent: a line of the device's own log; nothing is decided by it
	RecoveryMade       Kind = "recovery-made"       // Agent: a device did not do what it should, and was made to; nothing is decided by it
	HardwareFound      Kind = "hardware-found"      // Agent: what a machine has, or what its BMC is, when it changes; nothing is decided by it
	WeaknessFound      Kind = "weakness-found"      // Agent: what somebody ought to mend of a device's BMC; nothing is decided by it
	LightOn            Kind = "light-on"            // Agent: the identify light of a device is to shine, by order or because the device failed
	LightOff           Kind = "light-off"           // Agent: it is to be put out
	OrderAnswered      Kind = "order-answered"      // Agent: an order that a coordinator gave and that changed nothing

	// What an operator ordered for one device. Agent writes these when no
	// DeviceActor of that device lives, so that nothing of the life before is
	// journalled behind them.
	DeviceRetried  Kind = "device-retried"  // its failure is forgotten
	DeviceSkipped  Kind = "device-skipped"  // it is not to be imaged in this run
	ReimageOrdered Kind = "reimage-ordered" // it starts over, and what it holds may be overwritten
	DeviceBound    Kind = "device-bound"    // a MAC or a serial belongs to this slot
	DeviceReplaced Kind = "device-replaced" // other hardware stands in this slot: it starts over

	LinkReady     Kind = "link-ready"     // RackSupervisor
	DeviceCrashed Kind = "device-crashed" // RackSupervisor
	DeviceFailed  Kind = "device-failed"  // RackSupervisor
	DeviceFinding Kind = "device-finding" // RackSupervisor

	DeviceDiscovered Kind = "device-discovered" // DeviceActor, as all below
	PhaseStarted     Kind = "phase-started"
	PhaseCompleted   Kind = "phase-completed"
	StepStarted      Kind = "step-started"
	StepCompleted    Kind = "step-completed"
	StepFailed       Kind = "step-failed"
	StepWaiting      Kind = "step-waiting" // a destructive step passed its limit and waits on
	TicketIssued     Kind = "ticket-issued"
	DeviceHeld       Kind = "device-held"
	DeviceReleased   Kind = "device-released"
	DeviceReady      Kind = "device-ready"
)

// Detail is what an event says besides its kind; only the fields that the kind
// uses are set.
type Detail struct {
	Step    string
	Attempt int    // from 1
	Error   string // what went wrong, for people
	Next    string // what to do next, for people
	Reason  string // why a device is held, why a rack halted; step-failed: why the attempt is not counted, empty: it is

	Final   bool          // step-failed: no attempt is left
	Writing bool          // step-failed: the device may still be writing
	Delay   time.Duration // step-failed: until the retry

	Link string // link-*: the near end, "tor-1:1"
	Path string // link-ready: the switches of its route, "mgmt-1 > tor-1"

	Ticket string // ticket-issued: id, unique in the run
	Image  string
	Digest string

	Seen *Observation // observed, device-discovered, component-ambiguous

	Recovery Recovery // recovery-made, step-failed: how it is made up for; step-failed: by the retry
	Found    string   // hardware-found: what was found, as JSON

	PlanHash string // rack-started
	Run      string // rack-started: id of the run; receipts on devices carry it
	Bundle   string // rack-started: the release that the images are of, "2026.3@sha256:…"; empty: made up for a simulation
	SignedBy string // rack-started: the key that signed the bundle, or Nobody
	Ready    int    // rack-completed, rack-halted: devices
	Failed   int    // rack-completed, rack-halted: devices

	By         string   // who ordered it; empty: rackreach itself
	Order      string   // id of the order that this answers; empty for one that was given on the agent's own machine
	Overwrites string   // reimage-ordered, ticket-issued: what the device holds that may be overwritten, as Observation.Holds
	Only       []string // rack-started, rack-resumed: the devices that are to be imaged; empty: all
}

// Event is a fact of a run. The journal gives Seq and Time when it is appended.
type Event struct {
	Seq    uint64
	Time   time.Time
	Rack   string
	Device string // empty for the rack's own events
	Role   Role   // empty for the rack's own events
	Kind   Kind
	Phase  Phase // empty where none applies
	Detail Detail
}

// Source is how an observation was made.
type Source string

// The sources of observations.
const (
	FromDHCP      Source = "dhcp"
	FromBMC       Source = "bmc"
	FromMACTable  Source = "mac-table"
	FromTFTP      Source = "tftp"
	FromHTTP      Source = "http"
	FromReceipt   Source = "receipt" // the agent asked the device at its own address
	FromLLDP      Source = "lldp"    // the agent asked a switch for its neighbours
	FromSyslog    Source = "syslog"
	FromInstaller Source = "installer" // rackreach's own, which says what it found and how far it is
	FromOperator  Source = "operator"
)

// Observation is something seen on the wire about a device. All strings come
// from strangers: bounded and escaped by the adapter that made it.
type Observation struct {
	Source  Source
	Device  string // the slot, when the source itself knows it (a ticket's token, a BMC session)
	MAC     string // lower case, colon separated; empty when not seen
	UUID    string // option 97 or the BMC's GUID, 32 lower hex digits in wire order; empty when not seen
	Via     Port   // option 82 or the table row: the switch port that it came through; zero: none
	Stage   Stage  // dhcp only
	Vendor  string // vendor or machine name from the strings
	Model   string
	Serial  string
	Address string   // the address acknowledged or talked to
	Proves  Evidence // what it proves; empty: only that the device is there
	Message string   // the device's own words (a failure report; lldp: the neighbour, "RACK/DEVICE:PORT", empty: none; syslog: a line), bounded
	Holds   string   // what its disk holds that was not to be overwritten: "receipt:RUN/TICKET" or "foreign:…", bounded
}
