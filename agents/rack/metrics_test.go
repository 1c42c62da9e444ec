package rackagent

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// What an installer says of a device is a metric of that device, and none of one that
// said nothing.
func TestInstallerMetrics(t *testing.T) {
	r := &rack.Rack{Name: "r1", Devices: []rack.Device{{Name: "server-01", Role: rack.Server}, {Name: "server-02", Role: rack.Server}}}
	m := newMetrics(r, nil, func(string) (int64, int64) { return 0, 0 }, func(device string) (*job.Progress, *job.Hardware) {
		if device == "server-02" {
			return nil, nil
		}
		return &job.Progress{Written: 7, Checked: 5, Total: 9}, &job.Hardware{Problems: []string{"a", "b"}}
	})
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP rackreach_installer_checked_bytes Raw bytes of its image that the disk has given back as they were signed, under its last ticket.
# TYPE rackreach_installer_checked_bytes gauge
rackreach_installer_checked_bytes{device="server-01",rack="r1",role="server"} 5
# HELP rackreach_installer_problems What rackreach's installer could not do for a device's machine, such as a module that it has not.
# TYPE rackreach_installer_problems gauge
rackreach_installer_problems{device="server-01",rack="r1",role="server"} 2
# HELP rackreach_installer_written_bytes Raw bytes of its image that rackreach's installer has written on a device's disk, under its last ticket.
# TYPE rackreach_installer_written_bytes gauge
rackreach_installer_written_bytes{device="server-01",rack="r1",role="server"} 7
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "rackreach_installer_checked_bytes", "rackreach_installer_problems", "rackreach_installer_written_bytes"); err != nil {
		t.Error(err)
	}
}

// Who waits for something else is not counted.
func TestMiscabledMetric(t *testing.T) {
	r := &rack.Rack{Name: "r1", Devices: []rack.Device{{Name: "server-01", Role: rack.Server}, {Name: "server-02", Role: rack.Server}}}
	m := newMetrics(r, nil, func(string) (int64, int64) { return 0, 0 }, func(string) (*job.Progress, *job.Hardware) { return nil, nil })
	m.run.Apply(rack.Event{Device: "server-01", Kind: rack.DeviceHeld, Detail: rack.Detail{Reason: rack.CablingReason + "swapped"}})
	m.run.Apply(rack.Event{Device: "server-02", Kind: rack.DeviceHeld, Detail: rack.Detail{Reason: "the management switch is not ready"}})
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP rackreach_devices_miscabled Devices that are held because what was heard contradicts their cables.
# TYPE rackreach_devices_miscabled gauge
rackreach_devices_miscabled{rack="r1"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "rackreach_devices_miscabled"); err != nil {
		t.Error(err)
	}
}
