package inventory

import (
	"encoding/json"

	"github.com/rackreach/rackreach/internal/job"
)

// BMC is what a board controller says of itself (IPMI 2.0 §20.1).
type BMC struct {
	Address      string `json:"address,omitempty"`
	MAC          string `json:"mac,omitempty"`
	GUID         string `json:"guid,omitempty"`
	Vendor       string `json:"vendor,omitempty"`
	Manufacturer uint32 `json:"manufacturer,omitempty"` // IANA enterprise number
	Product      uint16 `json:"product,omitempty"`
	Firmware     string `json:"firmware,omitempty"`
}

// Found is what the journal keeps of a device's hardware: one of both.
type Found struct {
	BMC     *BMC          `json:"bmc,omitempty"`     // as it logged us in
	Machine *job.Hardware `json:"machine,omitempty"` // as the installer found it
}

// Encode is the detail of an event hardware-found.
func (f Found) Encode() string {
	b, err := json.Marshal(f)
	if err != nil {
		return "" // never: there is nothing in it that JSON does not know
	}
	return string(b)
}

// maxFound bounds a detail that is read, in bytes: what an installer may say, written
// anew.
const maxFound = 4 * job.MaxHardware

// decode reads a detail; the zero value for one that is none.
func decode(s string) (f Found) {
	if len(s) > maxFound || json.Unmarshal([]byte(s), &f) != nil {
		return Found{}
	}
	if f.Machine != nil {
		b, err := json.Marshal(f.Machine)
		if err != nil {
			return Found{}
		}
		h, err := job.ParseHardware(b) // its bounds, and printable
		if err != nil {
			return Found{}
		}
		f.Machine = &h
	}
	if b := f.BMC; b != nil {
		for _, t := range []*string{&b.Address, &b.MAC, &b.GUID, &b.Vendor, &b.Firmware} {
			*t = job.Printable(*t, maxText)
		}
	}
	return f
}

// maxText bounds a text of a BMC, in bytes.
const maxText = 120
