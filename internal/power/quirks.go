package power

import (
	"context"
	"slices"
	"strings"
)

// Makers (IANA enterprise numbers), as Get Device ID says them (§20.1).
const (
	makerDell        = 674
	makerHP          = 11
	makerHPE         = 47196
	makerFujitsu     = 10368
	makerSupermicro  = 10876
	makerSupermicro2 = 47488 // of some of its boards
	makerLenovo      = 19046
	makerOpenIPMI    = 4753 // 0x1291, of ipmi_sim as it is configured usually
)

// Maker is the name of a maker, for people; "" for one that is not known here.
func (i Info) Maker() string {
	switch i.ManufacturerID {
	case makerDell:
		return "Dell"
	case makerHP, makerHPE:
		return "HPE"
	case makerFujitsu:
		return "Fujitsu"
	case makerSupermicro, makerSupermicro2:
		return "Supermicro"
	case makerLenovo:
		return "Lenovo"
	case makerOpenIPMI:
		return "OpenIPMI"
	}
	return ""
}

// Quirk is what one kind of BMC does unlike the standard: a row of the table.
type Quirk struct {
	Makers    []uint32
	What      string  // it does, for people
	Reference string  // where that was reported
	Advice    string  // what to do when it shows; empty: what the failure says anyway
	Shows     Showing // as which failure; OverrideLost where there is no other
	Quirks            // what rackreach does about it
}

// Showing is the failure that a quirk shows itself by.
type Showing int

// The failures.
const (
	OverrideLost    Showing = iota // a boot override is accepted and reads back otherwise
	OverrideRefused                // it is refused
	NoAnswer                       // to anything: who it is cannot be asked, and the failure advises the same to everybody
)

// Quirks is what is done for one BMC: the sum of the rows that fit it.
type Quirks struct {
	// EFIDisk is byte 2 of parameter 5 for the disk under UEFI; 0: the standard's 08h.
	EFIDisk byte
	// DeviceOnly: of the boot flags only the device can be read back.
	DeviceOnly bool
	// LateOn: power-on is refused with D5h, not in this state, shortly after off.
	LateOn LateOn

	hints map[Showing][]string
}

// LateOn is how often power-on is tried, every so many pauses between two looks at the
// power state.
type LateOn struct{ Tries, Polls int }

// quirkTable is data: a row says who, what, where it was reported, and what is done.
// Most of it was reported by others and never seen here; only ipmi_sim's was.
var quirkTable = []Quirk{
	{
		Makers: []uint32{makerSupermicro, makerSupermicro2}, What: "the disk under UEFI is device 24h; 08h is accepted without effect",
		Reference: "ironic drivers/modules/ipmitool.py, story 2008241", Quirks: Quirks{EFIDisk: 0x24},
	},
	{
		Makers: []uint32{makerSupermicro, makerSupermicro2}, What: "a boot override is accepted, and its mode stays Legacy",
		Reference: "bmclib#459", Advice: "set its boot mode to UEFI in its setup, then retry",
	},
	{
		Makers: []uint32{makerSupermicro, makerSupermicro2}, What: "network boot by UEFI is ignored when a disk holds a system (reported of X11 boards)",
		Reference: "bmclib#209", Advice: "if it is an X11 board, put network before disk in its boot order",
	},
	{
		Makers: []uint32{makerDell}, What: "power-on is refused for a while after power-off (iDRAC10)",
		Reference: "Launchpad ironic 2162995", Quirks: Quirks{LateOn: LateOn{Tries: 6, Polls: 2}},
	},
	{
		Makers: []uint32{makerDell}, What: "boot once from the network is forgotten now and then (iDRAC9)",
		Reference: "metal-operator#80, badfish#397", Advice: "put network before disk in its boot order",
	},
	{
		Makers: []uint32{makerHP, makerHPE}, What: "a boot override is refused while the host is in POST (iLO)",
		Reference: "Launchpad ironic 2136275", Advice: "wait until its host is past POST, or off, and retry", Shows: OverrideRefused,
	},
	{
		Makers: []uint32{makerFujitsu}, What: "IPMI over LAN is off when it is delivered (iRMC S6 2.00)",
		Reference: "ironic release notes, irmc", Advice: "switch IPMI over LAN on in its web pages", Shows: NoAnswer,
	},
	{
		Makers: []uint32{makerOpenIPMI}, What: "ipmi_sim keeps the device of boot flags, and none of their bits",
		Reference: "measured with OpenIPMI 2.0.33", Quirks: Quirks{DeviceOnly: true},
	},
}

// QuirkTable is the table, for those who show it.
func QuirkTable() []Quirk { return slices.Clone(quirkTable) }

// quirksOf adds up the rows that fit a BMC.
func quirksOf(is identity) (sum Quirks) {
	for _, row := range quirkTable {
		if !slices.Contains(row.Makers, is.maker) {
			continue
		}
		if row.EFIDisk != 0 {
			sum.EFIDisk = row.EFIDisk
		}
		sum.DeviceOnly = sum.DeviceOnly || row.DeviceOnly
		if row.LateOn.Tries > 0 {
			sum.LateOn = row.LateOn
		}
		if row.Advice != "" {
			if sum.hints == nil {
				sum.hints = map[Showing][]string{}
			}
			sum.hints[row.Shows] = append(sum.hints[row.Shows], row.Advice+" ("+row.Reference+")")
		}
	}
	return sum
}

// quirks of the BMC; none of one that does not say which product it is.
func (s *session) quirks(ctx context.Context) Quirks {
	is, err := s.device(ctx)
	if err != nil {
		return Quirks{}
	}
	return quirksOf(is)
}

// advice is what to do next after a failure: what the table says of such a BMC, else the
// usual.
func (q Quirks) advice(after Showing, usual string) string {
	if len(q.hints[after]) == 0 {
		return usual
	}
	return strings.Join(q.hints[after], "; or ")
}
