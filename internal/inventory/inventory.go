package inventory

import (
	"fmt"
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// Document is what a rack consists of.
type Document struct {
	Rack     string    `json:"rack"`
	Run      string    `json:"run,omitempty"`
	PlanHash string    `json:"planHash,omitempty"`
	Bundle   string    `json:"bundle,omitempty"`
	State    string    `json:"state"` // of the rack
	Seq      uint64    `json:"seq"`   // the last event that is in it
	Time     time.Time `json:"time,omitzero"`
	Devices  []Device  `json:"devices"` // in the order of the rack file
}

// Device is one slot, and what stands in it.
type Device struct {
	Name      string         `json:"name"`
	Role      string         `json:"role"`
	Platform  string         `json:"platform"`
	State     string         `json:"state"`
	Error     string         `json:"error,omitempty"`
	Addresses []string       `json:"addresses"` // the planned one first, then what it was seen with
	MACs      []string       `json:"macs"`      // of its host, in the order in which they were seen
	BMC       *BMC           `json:"bmc,omitempty"`
	Vendor    string         `json:"vendor,omitempty"`
	Model     string         `json:"model,omitempty"`
	Serial    string         `json:"serial,omitempty"`
	UUID      string         `json:"uuid,omitempty"`
	Firmware  string         `json:"firmware,omitempty"` // bios or uefi
	CPU       string         `json:"cpu,omitempty"`
	Threads   int            `json:"threads,omitempty"`
	Memory    int64          `json:"memory,omitempty"` // bytes
	Disks     []job.Disk     `json:"disks"`
	NICs      []job.NIC      `json:"nics"`
	Image     string         `json:"image,omitempty"` // that it was given, of its last ticket or when it became ready
	Digest    string         `json:"digest,omitempty"`
	Receipts  []string       `json:"receipts"` // what its disk is known to hold
	Findings  []string       `json:"findings"`
	Recovered map[string]int `json:"recoveries,omitempty"` // by name
}

// Of is the inventory of a rack after the events of its run, which are all of them, in
// order.
func Of(r *rack.Rack, platforms map[string]rack.Platform, events []rack.Event) Document {
	run := rack.NewRun(r, platforms)
	of := map[string]*Device{}
	for i := range r.Devices {
		of[r.Devices[i].Name] = blank(&r.Devices[i])
	}
	out := Document{Rack: r.Name}
	for _, e := range events {
		if e.Kind == rack.Observed && e.Detail.Seen == nil {
			continue
		}
		run.Apply(e)
		out.Seq, out.Time = e.Seq, e.Time
		d, planned := of[e.Device], e.Device
		if d == nil {
			continue
		}
		if e.Kind == rack.DeviceReplaced {
			dev, _ := r.Device(planned)
			*d = *blank(dev)
			continue
		}
		d.enter(e)
	}
	out.Run, out.PlanHash, out.Bundle, out.State = run.ID, run.PlanHash, run.Bundle, string(run.Status)
	for i := range r.Devices {
		d := of[r.Devices[i].Name]
		s := run.Device(d.Name)
		d.State, d.Error = string(s.Status), s.Error
		if s.Holds != "" && !slices.Contains(d.Receipts, s.Holds) {
			d.Receipts = append(d.Receipts, s.Holds)
		}
		out.Devices = append(out.Devices, *d)
	}
	return out
}

// blank is what the rack file says of a slot.
func blank(d *rack.Device) *Device {
	out := &Device{Name: d.Name, Role: string(d.Role), Platform: d.Platform, Serial: d.Serial,
		Addresses: []string{}, MACs: []string{}, Disks: []job.Disk{}, NICs: []job.NIC{}, Receipts: []string{}, Findings: []string{}}
	if d.Address.IsValid() {
		out.Addresses = append(out.Addresses, d.Address.String())
	}
	out.MACs = append(out.MACs, d.MACs...)
	if d.BMC != nil {
		out.BMC = &BMC{Address: d.BMC.Address.String()}
	}
	return out
}

// maxList bounds each list of a device: what strangers send must not fill it.
const maxList = 128

// add puts a text at the end of a list that has it not.
func add(list *[]string, s string) {
	if s != "" && !slices.Contains(*list, s) && len(*list) < maxList {
		*list = append(*list, s)
	}
}

// set takes a text that says something.
func set(to *string, s string) {
	if s != "" {
		*to = s
	}
}

// enter takes in one event of the device.
func (d *Device) enter(e rack.Event) {
	if r := e.Detail.Recovery; r != "" {
		if d.Recovered == nil {
			d.Recovered = map[string]int{}
		}
		d.Recovered[string(r)]++
	}
	switch e.Kind {
	case rack.Observed, rack.DeviceBound:
		d.observe(e.Detail.Seen)
	case rack.HardwareFound:
		d.found(decode(e.Detail.Found))
	case rack.TicketIssued, rack.DeviceReady:
		set(&d.Image, e.Detail.Image)
		set(&d.Digest, e.Detail.Digest)
	case rack.DeviceFinding, rack.WeaknessFound:
		add(&d.Findings, e.Detail.Reason)
	}
}

// observe takes in what was seen on a wire.
func (d *Device) observe(o *rack.Observation) {
	if o == nil {
		return
	}
	if o.Source == rack.FromBMC || o.Stage == rack.StageBMC {
		if d.BMC == nil {
			d.BMC = &BMC{}
		}
		set(&d.BMC.MAC, o.MAC)
		if o.Source == rack.FromBMC {
			set(&d.BMC.GUID, o.UUID)
		}
		return
	}
	switch o.Source {
	case rack.FromDHCP, rack.FromOperator:
		add(&d.MACs, o.MAC)
		add(&d.Addresses, o.Address)
		set(&d.UUID, o.UUID)
		set(&d.Serial, o.Serial)
		set(&d.Model, o.Model)
	}
	if o.Proves == rack.ReceiptForeign || o.Proves == rack.ReportedRefused {
		add(&d.Findings, "it holds "+o.Holds)
	}
}

// found takes in what hardware was found.
func (d *Device) found(f Found) {
	if b := f.BMC; b != nil {
		before := d.BMC
		d.BMC = b
		if before != nil && b.MAC == "" {
			d.BMC.MAC = before.MAC
		}
	}
	h := f.Machine
	if h == nil {
		return
	}
	set(&d.Vendor, h.Vendor)
	set(&d.Model, h.Model)
	set(&d.Serial, h.Serial)
	set(&d.UUID, h.UUID)
	set(&d.CPU, h.CPU)
	d.Firmware, d.Threads, d.Memory = string(h.Firmware), h.Threads, h.Memory
	if d.Disks = h.Disks; d.Disks == nil {
		d.Disks = []job.Disk{}
	}
	if d.NICs = h.NICs; d.NICs == nil {
		d.NICs = []job.NIC{}
	}
	for _, n := range h.NICs {
		add(&d.MACs, n.MAC)
	}
	for _, p := range h.Problems {
		add(&d.Findings, fmt.Sprintf("its installer: %s", p))
	}
}
