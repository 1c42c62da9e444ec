package main

import (
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// findings are what somebody ought to look at, by device.
type findings map[string][]finding

type finding struct {
	what string
	kind rack.Kind
}

// maxFindings bounds what is told of one device.
const maxFindings = 16

// apply takes in an event. What was found of its work is old when a device is imaged
// again. A weakness of its BMC is not: it is journalled once for each hardware.
func (f findings) apply(e rack.Event) {
	switch e.Kind {
	case rack.DeviceFinding, rack.WeaknessFound:
		known := f[e.Device]
		if x := (finding{e.Detail.Reason, e.Kind}); x.what != "" && len(known) < maxFindings && !slices.Contains(known, x) {
			f[e.Device] = append(known, x)
		}
	case rack.ReimageOrdered:
		f[e.Device] = slices.DeleteFunc(f[e.Device], func(x finding) bool { return x.kind == rack.DeviceFinding })
	case rack.DeviceReplaced:
		delete(f, e.Device)
	}
}

// of is what was found of a device, in the order in which it was.
func (f findings) of(device string) (out []string) {
	for _, x := range f[device] {
		out = append(out, x.what)
	}
	return out
}
