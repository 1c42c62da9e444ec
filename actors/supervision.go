package actors

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
)

// DeviceFault is definitive trouble of one device. It is the only panic that
// this package raises, in raise, and the only typed reason that supervisors see.
type DeviceFault struct {
	Device string
	Kind   rack.FailureKind
	Err    error
}

func (f *DeviceFault) Error() string { return f.Device + ": " + f.Err.Error() }

func (f *DeviceFault) Unwrap() error { return f.Err }

// raise fails the calling actor with a device's fault; it does not return.
func raise(device, cause string) {
	panic(&DeviceFault{Device: device, Kind: rack.Fault, Err: errors.New(cause)})
}

// faultOf is the fault behind the reason of a failure. Any reason that is not a
// DeviceFault is a bug in the code that drives the device.
func faultOf(device string, reason any) *DeviceFault {
	if f, ok := reason.(*DeviceFault); ok {
		return f
	}
	return &DeviceFault{Device: device, Kind: rack.Bug, Err: fmt.Errorf("the code that drives it crashed: %.200v", reason)}
}

// Supervision is the table from what a failure means to the library's strategy
// that enforces it.
type Supervision struct {
	// Devices are the strategies of a RackSupervisor for its DeviceActors, by
	// the answer of rack.OnFailure.
	Devices map[rack.Answer]actor.SupervisorStrategy
	// Rack is the strategy of an Agent for its RackSupervisor: Stop. Resume
	// would leave the failed DeviceActor suspended for ever, Restart would
	// stop every healthy one (measured).
	Rack actor.SupervisorStrategy
	// DHCP is the strategy of an Agent for its DHCPActor.
	DHCP actor.SupervisorStrategy
}

// Restarts of a server's DeviceActor after a bug: at most restartsPerWindow
// within restartWindow, then it is stopped.
const (
	restartsPerWindow = 2
	restartWindow     = 10 * time.Minute
)

// DefaultSupervision is the table of design §5.
func DefaultSupervision() Supervision {
	return Supervision{
		Devices: map[rack.Answer]actor.SupervisorStrategy{
			rack.Halt:    actor.NewOneForOneStrategy(0, 0, always(actor.EscalateDirective)),
			rack.Isolate: actor.NewOneForOneStrategy(0, 0, always(actor.StopDirective)),
			rack.Restart: actor.NewOneForOneStrategy(restartsPerWindow, restartWindow, always(actor.RestartDirective)),
		},
		Rack: actor.NewOneForOneStrategy(0, 0, always(actor.StopDirective)),
		DHCP: &Backoff{Base: 200 * time.Millisecond, Max: 30 * time.Second, Window: 5 * time.Minute},
	}
}

func always(d actor.Directive) actor.DeciderFunc { return func(any) actor.Directive { return d } }

// Backoff restarts a child after a delay that doubles with every failure inside
// Window, at most Max, plus up to a fifth of jitter. It never gives up: a rack
// without DHCP waits, it is not lost. (The library's own exponential strategy is
// linear and its noise is nanoseconds; measured.)
type Backoff struct {
	Base, Max time.Duration
	Window    time.Duration // without a failure this long, the delay starts at Base again
}

var _ actor.SupervisorStrategy = (*Backoff)(nil)

// backoffDoublings bounds the shift, far beyond any Max.
const backoffDoublings = 16

// HandleFailure implements actor.SupervisorStrategy. The child's mailbox stays
// suspended until the restart.
func (b *Backoff) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, rs *actor.RestartStatistics, _, _ any) {
	if rs.NumberOfFailures(b.Window) == 0 {
		rs.Reset() // also keeps the list of failures from growing for ever
	}
	rs.Fail()
	n := min(rs.NumberOfFailures(b.Window)-1, backoffDoublings)
	delay := min(b.Base<<n, b.Max)
	delay += rand.N(delay/5 + 1)
	time.AfterFunc(delay, func() { supervisor.RestartChildren(child) })
}
