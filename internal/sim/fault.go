package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rackreach/rackreach/internal/rack"
)

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of faults.
const (
	FaultError        FaultKind = "error"            // a step of the phase fails
	FaultHang         FaultKind = "hang"             // the device stops in the middle of the phase
	FaultCorruptImage FaultKind = "corrupt-image"    // one byte of the image arrives wrong
	FaultNoDHCP       FaultKind = "no-dhcp"          // the device sends no DHCP packet
	FaultBMCDead      FaultKind = "bmc-dead"         // its BMC answers nothing from the phase on
	FaultBMCIdle      FaultKind = "bmc-idle"         // its BMC accepts a power command and does nothing
	FaultLost         FaultKind = "override-lost"    // its BMC accepts where to boot from and does not keep it
	FaultIgnored      FaultKind = "override-ignored" // its BMC keeps where to boot from, and the host boots from its disk
	FaultSilent       FaultKind = "silent"           // its firmware takes no address that it is offered, until its power is cycled
	FaultLogin        FaultKind = "login-refused"    // its BMC refuses our login, for good
	FaultNoFile       FaultKind = "no-boot-file"     // its firmware gets its address and fetches no boot file
	FaultLie          FaultKind = "lie"              // what it shows of itself is that of another job
	FaultPanic        FaultKind = "panic"            // of the device's actor; nothing that a simulated device does
)

var faultKinds = []FaultKind{FaultError, FaultHang, FaultCorruptImage, FaultNoDHCP, FaultBMCDead, FaultBMCIdle, FaultLost, FaultIgnored, FaultSilent, FaultLogin, FaultNoFile, FaultLie, FaultPanic}

// maxFaultCount bounds COUNT.
const maxFaultCount = 1000

// Fault is one injected fault.
type Fault struct {
	Device string
	Phase  rack.Phase
	Kind   FaultKind
	Count  int // occurrences; 0: for ever
}

// String is what ParseFault reads.
func (f Fault) String() string {
	s := f.Device + ":" + string(f.Phase) + ":" + string(f.Kind)
	if f.Count > 0 {
		s += ":" + strconv.Itoa(f.Count)
	}
	return s
}

const faultSyntax = "write DEVICE:PHASE:KIND or DEVICE:PHASE:KIND:COUNT, such as tor-1:installation:error:2"

// ParseFault reads DEVICE:PHASE:KIND[:COUNT]. The error says what to write
// instead.
func ParseFault(s string) (Fault, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 3 || len(parts) > 4 {
		return Fault{}, fmt.Errorf("fault %q has %d parts: %s", s, len(parts), faultSyntax)
	}
	f := Fault{Device: parts[0], Phase: rack.Phase(parts[1]), Kind: FaultKind(parts[2])}
	if f.Device == "" {
		return Fault{}, fmt.Errorf("fault %q names no device: %s", s, faultSyntax)
	}
	if f.Phase.OrNone() == "" {
		return Fault{}, fmt.Errorf("fault %q: %q is not a phase: write one of %s", s, parts[1], words(rack.Phases()))
	}
	if !slices.Contains(faultKinds, f.Kind) {
		return Fault{}, fmt.Errorf("fault %q: %q is not a kind of fault: write one of %s", s, parts[2], words(faultKinds))
	}
	if err := f.possible(); err != nil {
		return Fault{}, err
	}
	if len(parts) == 4 {
		n, err := strconv.Atoi(parts[3])
		if err != nil || n < 1 || n > maxFaultCount {
			return Fault{}, fmt.Errorf("fault %q: %q is not a count: write a number from 1 to %d, or leave it out for a fault that never ends", s, parts[3], maxFaultCount)
		}
		f.Count = n
	}
	return f, nil
}

func words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return strings.Join(out, ", ")
}

// possible says why a kind makes no sense in a phase.
func (f Fault) possible() error {
	switch {
	case f.Kind == FaultCorruptImage && f.Phase != rack.Installation:
		return fmt.Errorf("fault %s: an image is only transferred during installation: write %s:installation:corrupt-image", f, f.Device)
	case f.Kind == FaultLie && f.Phase != rack.Configuration:
		return fmt.Errorf("fault %s: a device shows what it is when its configuration is verified: write %s:configuration:lie", f, f.Device)
	case f.Kind == FaultNoDHCP && f.Phase == rack.Configuration:
		return fmt.Errorf("fault %s: no DHCP is needed during configuration: write %s:discovery:no-dhcp or %s:installation:no-dhcp", f, f.Device, f.Device)
	case f.Kind == FaultNoFile && f.Phase != rack.Installation:
		return fmt.Errorf("fault %s: a boot file is named once the device may be installed: write %s:installation:%s", f, f.Device, f.Kind)
	case f.Kind == FaultBMCIdle && f.Phase == rack.Installation: // a retry cycles its power
	case f.ofBoot() && f.Phase != rack.Discovery:
		return fmt.Errorf("fault %s: a device is powered on and booted from the network for its discovery: write %s:discovery:%s", f, f.Device, f.Kind)
	}
	return nil
}

// ofBoot reports whether a kind is of a host's way from its BMC to its first address.
func (f Fault) ofBoot() bool {
	return slices.Contains([]FaultKind{FaultBMCIdle, FaultLost, FaultIgnored, FaultSilent, FaultLogin}, f.Kind)
}

// CheckFaults checks that every fault can happen in a rack: its device exists
// and has the part that fails. All problems are returned, joined.
func CheckFaults(faults []Fault, r *rack.Rack) error {
	var errs []error
	for _, f := range faults {
		d, ok := r.Device(f.Device)
		if !ok {
			errs = append(errs, fmt.Errorf("fault %s: rack %s has no device %q: write one of %s", f, r.Name, f.Device, deviceNames(r)))
			continue
		}
		if err := f.possible(); err != nil {
			errs = append(errs, err)
		}
		if (f.Kind == FaultBMCDead || f.Kind == FaultNoFile || f.ofBoot()) && d.BMC == nil {
			errs = append(errs, fmt.Errorf("fault %s: %s has no BMC in the rack file: write %s:%s:error, or name a device with a BMC", f, f.Device, f.Device, f.Phase))
		}
	}
	return errors.Join(errs...)
}

func deviceNames(r *rack.Rack) string {
	const most = 12
	var names []string
	for i := range r.Devices {
		if i == most {
			names = append(names, fmt.Sprintf("… (%d devices)", len(r.Devices)))
			break
		}
		names = append(names, r.Devices[i].Name)
	}
	return strings.Join(names, ", ")
}

// faults hands out the occurrences of injected faults.
type faults struct {
	rec  *record
	mu   sync.Mutex
	list []*activeFault
}

type activeFault struct {
	Fault
	left int  // occurrences left; < 0: for ever
	said bool // an endless fault is recorded once
}

func newFaults(list []Fault, rec *record) *faults {
	f := &faults{rec: rec}
	for _, x := range list {
		left := x.Count
		if left == 0 {
			left = -1
		}
		f.list = append(f.list, &activeFault{Fault: x, left: left})
	}
	return f
}

// has reports whether a device has a fault of a kind, whatever the phase, and uses up
// nothing.
func (f *faults) has(device string, kind FaultKind) bool {
	return slices.ContainsFunc(f.list, func(x *activeFault) bool { return x.Device == device && x.Kind == kind })
}

// take uses up one occurrence of a fault; endless says that it never recovers.
func (f *faults) take(device string, phase rack.Phase, kind FaultKind) (hit, endless bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.list {
		if x.Device != device || x.Phase != phase || x.Kind != kind || x.left == 0 {
			continue
		}
		if x.left > 0 {
			x.left--
		}
		if x.Count > 0 || !x.said {
			x.said = true
			f.rec.add(kindFault, device, nil, detail{"kind": string(kind), "phase": string(phase)})
		}
		return true, x.left < 0
	}
	return false, false
}

// bmcDead reports whether a BMC has died by that phase. A dead BMC stays dead;
// COUNT counts the datagrams that it swallows.
func (f *faults) bmcDead(device string, phase rack.Phase) bool {
	for _, p := range rack.Phases() {
		if hit, _ := f.take(device, p, FaultBMCDead); hit {
			return true
		}
		if p == phase {
			return false
		}
	}
	return false
}
