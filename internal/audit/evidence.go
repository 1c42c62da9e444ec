package audit

import (
	"fmt"

	"github.com/rackreach/rackreach/internal/rack"
)

// Evidence is what completed one step of a device.
type Evidence struct {
	Step   string
	Moment        // of the observation, or of the action's own read-back
	Words  string // for people
	by     string // how it was seen
}

// String is the evidence in one line, with the event that holds it: "the
// device's own report: installed (event 123, by http)".
func (x Evidence) String() string {
	if x.by != "" {
		return fmt.Sprintf("%s (event %d, %s)", x.Words, x.Seq, x.by)
	}
	return fmt.Sprintf("%s (event %d)", x.Words, x.Seq)
}

// by says how an observation was made, or "" for what is none.
func by(e rack.Event) string {
	if e.Kind != rack.Observed || e.Detail.Seen == nil {
		return ""
	}
	out := "by " + string(e.Detail.Seen.Source)
	if v := e.Detail.Seen.Via; !v.IsZero() {
		out += " through " + v.String()
	}
	return out
}

// proven is what an observation proves, in words.
func proven(o *rack.Observation) string {
	at := ""
	if o.Address != "" && o.Source == rack.FromDHCP {
		at = " " + o.Address
	}
	switch o.Proves {
	case rack.DHCPBMC:
		return "its BMC took its address" + at
	case rack.DHCPPXE:
		if o.Address == "" && o.Source == rack.FromDHCP {
			return "its firmware asks to boot from the network" // it takes no address while there is nothing to boot
		}
		return "its firmware boots from the network and took its address" + at
	case rack.DHCPONIE:
		return "it waits in ONIE for an installer and took its address" + at
	case rack.DHCPNOS, rack.DHCPOS:
		return "its installed system came up and took its address" + at
	case rack.FetchedBootLoader:
		return "its boot loader was transferred as a whole"
	case rack.FetchedImage:
		return "its image was transferred as a whole"
	case rack.ReportedInstalled:
		return "the device's own report: installed"
	case rack.ReceiptFound:
		return "it answered at its own address with the receipt of its last ticket"
	case rack.ReportedFailed:
		return "the device's own report: failed"
	case rack.ReportedRefused:
		return "the device's own report: its disk was not to be overwritten"
	case rack.DHCPDeclined:
		return "it declined its address"
	}
	return "evidence " + string(o.Proves)
}

// wanted is what a step waits for, in words.
func wanted(s rack.Step) string {
	switch s.Until {
	case rack.NoEvidence:
		return "the answer to " + string(s.Action)
	case rack.DHCPBMC:
		return "its BMC to ask for an address"
	case rack.DHCPPXE:
		return "its firmware to boot from the network"
	case rack.DHCPONIE:
		return "ONIE to ask for an address"
	case rack.DHCPNOS, rack.DHCPOS:
		return "the installed system to ask for an address"
	case rack.FetchedBootLoader:
		return "it to fetch its boot loader"
	case rack.FetchedImage:
		return "the whole image to be transferred"
	case rack.ReportedInstalled:
		return "the installer's report"
	case rack.ReceiptFound:
		return "its receipt at its own address"
	}
	return "evidence " + string(s.Until)
}
