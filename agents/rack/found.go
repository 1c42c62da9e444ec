package rackagent

import (
	"fmt"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/inventory"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
)

// found is a note of hardware, for the inventory.
func found(device string, source rack.Source, f inventory.Found) *actors.Note {
	return &actors.Note{Kind: rack.HardwareFound, Device: device, Detail: rack.Detail{Found: f.Encode(), Seen: &rack.Observation{Source: source, Device: device}}}
}

// bmcFound is what a BMC said of itself.
func bmcFound(t power.Target, i power.Info) *actors.Note {
	vendor := i.Maker()
	if vendor == "" {
		vendor = fmt.Sprintf("IANA %d", i.ManufacturerID)
	}
	return found(t.Device, rack.FromBMC, inventory.Found{BMC: &inventory.BMC{Address: t.Address.String(), GUID: i.GUID,
		Vendor: vendor, Manufacturer: i.ManufacturerID, Product: i.ProductID, Firmware: job.Printable(i.Firmware, maxFirmware)}})
}

// maxFirmware bounds a revision, in bytes.
const maxFirmware = 40

// machineFound journals what an installer found in its machine.
func (a *Agent) machineFound(t boot.Ticket, h *job.Hardware) {
	a.note(found(t.Device, rack.FromInstaller, inventory.Found{Machine: h}))
}
