package rack

// FailureKind tells the two ways in which a device's work can end badly apart.
type FailureKind string

// The kinds of failures.
const (
	// Fault is definitive trouble of the device: its retries are used up, or
	// it was never seen.
	Fault FailureKind = "fault"
	// Bug is an unforeseen panic in the code that drives the device.
	Bug FailureKind = "bug"
)

// Answer is what a failure means for the rack.
type Answer string

// The answers.
const (
	Halt    Answer = "halt"    // the imaging of the rack ends at this point
	Isolate Answer = "isolate" // this device cannot be completed, the others go on
	Restart Answer = "restart" // drive the device again from the journal; isolate when that does not help
)

// OnFailure is the only rule of what a failure means (design §1.6): a switch
// stops its rack whatever the reason, because nothing behind it can be trusted;
// a server stands alone.
func OnFailure(role Role, kind FailureKind) Answer {
	switch {
	case role.IsSwitch():
		return Halt
	case kind == Bug:
		return Restart
	default:
		return Isolate
	}
}
