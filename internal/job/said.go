package job

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rackreach/rackreach/internal/printable"
)

// Phase is what an installer is at.
type Phase string

// The phases, in their order.
const (
	Writing   Phase = "writing"   // the image, and reading it back
	Finishing Phase = "finishing" // partition, files, boot entry, receipt
)

// Progress is how far an installer is.
type Progress struct {
	Phase Phase `json:"phase"`
	// Written and Checked are raw bytes of the image that are on the disk, and that
	// were read back from it.
	Written int64 `json:"written"`
	Checked int64 `json:"checked"`
	Total   int64 `json:"total"` // raw bytes of the image
}

// ErrSaid says that what an installer said cannot be. It is wrapped.
var ErrSaid = errors.New("bad message of an installer")

// ParseProgress reads a progress. Unknown keys are ignored: the installer may be
// newer than the agent. Error: ErrSaid, wrapped.
func ParseProgress(b []byte) (Progress, error) {
	var p Progress
	if len(b) > MaxProgress || json.Unmarshal(b, &p) != nil {
		return Progress{}, fmt.Errorf("%w: progress is not JSON of at most %d bytes", ErrSaid, MaxProgress)
	}
	if p.Phase != Writing && p.Phase != Finishing || p.Total <= 0 || p.Total > MaxRaw || p.Written < 0 || p.Written > p.Total || p.Checked < 0 || p.Checked > p.Written {
		return Progress{}, fmt.Errorf("%w: a progress of %d and %d of %d bytes in phase %.20q", ErrSaid, p.Checked, p.Written, p.Total, p.Phase)
	}
	return p, nil
}

// Hardware is what an installer found in its machine.
type Hardware struct {
	UUID       string      `json:"uuid,omitempty"`   // of the system (SMBIOS type 1)
	Serial     string      `json:"serial,omitempty"` // of the system
	Vendor     string      `json:"vendor,omitempty"`
	Model      string      `json:"model,omitempty"`
	Firmware   Firmware    `json:"firmware"`
	CPU        string      `json:"cpu,omitempty"`
	Threads    int         `json:"threads"`
	Memory     int64       `json:"memory"` // bytes that the kernel has
	Disks      []Disk      `json:"disks"`
	NICs       []NIC       `json:"nics"`
	Neighbours []Neighbour `json:"neighbours,omitempty"`
	// Problems are what the installer could not do for its machine, such as a module
	// that it has not; it goes on without.
	Problems []string `json:"problems,omitempty"`
}

// Firmware is how a machine was booted.
type Firmware string

// The kinds of firmware.
const (
	BIOS Firmware = "bios"
	UEFI Firmware = "uefi"
)

// Disk is a disk as its kernel knows it.
type Disk struct {
	Path       string `json:"path"` // /dev/NAME
	Size       int64  `json:"size"` // bytes
	Block      int64  `json:"block"`
	Serial     string `json:"serial,omitempty"`
	Model      string `json:"model,omitempty"`
	Removable  bool   `json:"removable,omitempty"`
	ReadOnly   bool   `json:"readOnly,omitempty"`
	USB        bool   `json:"usb,omitempty"`
	Rotational bool   `json:"rotational,omitempty"`
}

// NIC is a network interface.
type NIC struct {
	Name   string `json:"name"`
	MAC    string `json:"mac"`
	Link   bool   `json:"link"`
	Speed  int    `json:"speed,omitempty"` // Mb/s; 0: unknown
	Driver string `json:"driver,omitempty"`
}

// Neighbour is what the other end of a cable says of itself (IEEE 802.1AB).
type Neighbour struct {
	NIC    string `json:"nic"`
	System string `json:"system,omitempty"`
	Port   string `json:"port,omitempty"`
}

// ParseHardware reads what an installer found, with its text made printable.
// Unknown keys are ignored. Error: ErrSaid, wrapped.
func ParseHardware(b []byte) (Hardware, error) {
	var h Hardware
	if len(b) > MaxHardware || json.Unmarshal(b, &h) != nil {
		return Hardware{}, fmt.Errorf("%w: hardware is not JSON of at most %d bytes", ErrSaid, MaxHardware)
	}
	if len(h.Disks) > maxDisks || len(h.NICs) > maxNICs || len(h.Neighbours) > maxNeighbours || len(h.Problems) > MaxProblems || h.Memory < 0 || h.Threads < 0 {
		return Hardware{}, fmt.Errorf("%w: hardware: %d disks, %d interfaces, %d neighbours, %d problems", ErrSaid, len(h.Disks), len(h.NICs), len(h.Neighbours), len(h.Problems))
	}
	h.clean()
	return h, nil
}

// clean makes all text printable.
func (h *Hardware) clean() {
	texts := []*string{&h.UUID, &h.Serial, &h.Vendor, &h.Model, (*string)(&h.Firmware), &h.CPU}
	for i := range h.Disks {
		d := &h.Disks[i]
		texts = append(texts, &d.Path, &d.Serial, &d.Model)
	}
	for i := range h.NICs {
		n := &h.NICs[i]
		texts = append(texts, &n.Name, &n.MAC, &n.Driver)
	}
	for i := range h.Neighbours {
		n := &h.Neighbours[i]
		texts = append(texts, &n.NIC, &n.System, &n.Port)
	}
	for i := range h.Problems {
		texts = append(texts, &h.Problems[i])
	}
	for _, t := range texts {
		*t = Printable(*t, maxText)
	}
}

// State is how a job ended, as a report says it.
type State string

// How it can end.
const (
	Installed State = "installed"
	Failed    State = "failed"
	// KeptBack: nothing was written, since the disk holds what the job does not name.
	KeptBack State = "refused"
)

// Report is how a job ended.
type Report struct {
	State   State  `json:"state"`
	Message string `json:"message"`
	Digest  string `json:"digest"` // of what is installed, as the job says it
	Holds   string `json:"holds,omitempty"`
}

// Printable makes one printable line of a text, of at most so many bytes: see
// printable.Line.
func Printable(s string, most int) string { return printable.Line(s, most) }
