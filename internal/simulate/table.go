package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Mark says how well a number is founded.
type Mark string

// The marks.
const (
	Measured  Mark = "measured"  // seen in the captures of this project
	Source    Mark = "source"    // stands in the source code of the thing itself
	Published Mark = "published" // documentation, or a public bug report with figures
	Estimate  Mark = "estimate"  // nobody has published it
)

// Duration is a row of the table of durations.
type Duration struct {
	Of     string      // an action, the evidence that is waited for, or one of the occasions below
	Roles  []rack.Role // nil: every role that has no row of its own
	Takes  Distribution
	Image  int64 // bytes of the image that Takes is about; larger ones take proportionally longer; 0: any
	Source string
	Mark   Mark
}

// Occasions that are neither an action nor evidence of a step.
const (
	bmcContact  = "first-contact:bmc"  // until the BMC of a reachable device speaks, or of the management switch from power on
	onieContact = "first-contact:onie" // until ONIE of a reachable switch asks for an address
	loggedLine  = "syslog"             // until a device logs what is waited for
	oniePause   = "pause:onie"         // between two rounds of ONIE's discovery
	pxeTimeout  = "timeout:pxe"        // of the firmware on a port without an answer
)

func triangular(low, middle, high time.Duration) Distribution {
	return Distribution{Triangular, low, middle, high}
}

// Durations is the table of durations of real hardware (protocol facts §4, §5
// and §7). The slice is the caller's.
func Durations() []Duration {
	const s = time.Second
	onie := []rack.Role{rack.ToRSwitch, rack.InterRackSwitch}
	mgmt := []rack.Role{rack.ManagementSwitch}
	return []Duration{
		{Of: bmcContact, Takes: triangular(1*s, 10*s, 80*s), Mark: Source,
			Source: "DHCP client of OpenBMC: 25 s + 55 s between its attempts; the shape is an estimate"},
		{Of: bmcContact, Roles: mgmt, Takes: triangular(60*s, 90*s, 180*s), Mark: Estimate, Source: "BMC after AC on: 60 to 180 s"},
		{Of: onieContact, Takes: triangular(3*s, 35*s, 90*s), Mark: Estimate,
			Source: "ONIE: 5 x 3 s for an address, 20 s between rounds (source); spanning tree without edge ports: 30 to 50 s (xcat-core#1638)"},
		{Of: onieContact, Roles: mgmt, Takes: triangular(60*s, 75*s, 90*s), Mark: Estimate, Source: "ONIE boot to discovery: 60 to 90 s"},
		{Of: oniePause, Takes: triangular(20*s, 24*s, 35*s), Mark: Source, Source: "ONIE: 20 s loop pause, up to 5 x 3 s for an address"},
		{Of: pxeTimeout, Takes: triangular(60*s, 60*s, 60*s), Mark: Measured, Source: "EDK2: DISCOVER at 0, 4, 12, 28 s, next boot entry after 60 s"},

		{Of: string(rack.BMCLogin), Takes: triangular(1*s, 3*s, 15*s), Mark: Estimate,
			Source: "a BMC that ignores the cipher suite question costs 10 s more (ipmitool#199)"},
		{Of: string(rack.BootPXE), Takes: triangular(5*s, 7*s, 20*s), Mark: Estimate, Source: "at least 5 s between two commands (ironic min_command_interval), set and read back"},
		{Of: string(rack.PowerOn), Takes: triangular(5*s, 10*s, 40*s), Mark: Estimate, Source: "ironic allows 60 s per change of power"},
		{Of: string(rack.PowerCycle), Takes: triangular(8*s, 35*s, 90*s), Mark: Estimate,
			Source: "ironic allows 60 s per change of power; off is read back before on; a host that is on and does not shut itself down is waited for 30 s"},
		{Of: string(rack.PushConfig), Takes: triangular(5*s, 15*s, 90*s), Mark: Estimate, Source: "nobody publishes it"},
		{Of: string(rack.VerifyDevice), Takes: triangular(2*s, 5*s, 30*s), Mark: Estimate, Source: "nobody publishes it"},
		{Of: string(rack.Request), Takes: triangular(1*s, 3*s, 30*s), Mark: Estimate, Source: "nobody publishes it: one request"},
		{Of: string(rack.AwaitPort), Takes: triangular(5*s, 30*s, 90*s), Mark: Estimate, Source: "nobody publishes it: a system that has an address begins to listen"},
		{Of: string(rack.AwaitARP), Takes: triangular(1*s, 5*s, 60*s), Mark: Estimate, Source: "nobody publishes it: as its first packet"},
		{Of: loggedLine, Takes: triangular(5*s, 30*s, 120*s), Mark: Estimate, Source: "nobody publishes it: a milestone between two others"},

		{Of: string(rack.BootInstaller), Takes: triangular(3*s, 10*s, 60*s), Mark: Estimate, Source: "nobody publishes it: one command to the installed system"},

		{Of: string(rack.DHCPPXE), Takes: Distribution{LogNormal, 60 * s, 240 * s, 600 * s}, Mark: Estimate,
			Source: "power-on self test to PXE: 60 to 180 s small, 3 to 6 min with two sockets, over 10 min seen (op-test#588)"},
		{Of: string(rack.DHCPPXE), Roles: mgmt, Takes: triangular(60*s, 90*s, 180*s), Mark: Estimate, Source: "power-on self test of a small machine: 60 to 180 s"},
		{Of: string(rack.DHCPONIE), Takes: triangular(60*s, 75*s, 90*s), Mark: Estimate, Source: "ONIE boot to discovery: 60 to 90 s"},
		{Of: string(rack.FetchedBootLoader), Takes: triangular(3*s, 15*s, 60*s), Mark: Estimate,
			Source: "iPXE: DISCOVER at 0, 1, 3 s, 2 s for a proxy (measured); TFTP and its six retries"},
		{Of: string(rack.FetchedImage), Takes: triangular(60*s, 120*s, 240*s), Image: 650 << 20, Mark: Estimate,
			Source: "installer of 350 to 650 MB: 1 to 4 min over HTTP"},
		{Of: string(rack.FetchedImage), Roles: mgmt, Takes: triangular(57*s, 75*s, 135*s), Image: 2 << 30, Mark: Published,
			Source: "845 MB in 57 s (sonic-buildimage#5596), 1 to 2 GB today"},
		{Of: string(rack.FetchedImage), Roles: onie, Takes: triangular(60*s, 95*s, 170*s), Image: 2 << 30, Mark: Published,
			Source: "845 MB in 57 s (sonic-buildimage#5596), 1 to 2 GB today; up to one round of ONIE's discovery before"},
		{Of: string(rack.ReportedInstalled), Takes: triangular(120*s, 200*s, 300*s), Mark: Estimate, Source: "ESXi: 2 to 5 min to write"},
		{Of: string(rack.ReportedInstalled), Roles: mgmt, Takes: triangular(180*s, 240*s, 480*s), Mark: Estimate, Source: "as an installation by ONIE: 3 to 8 min"},
		{Of: string(rack.ReportedInstalled), Roles: onie, Takes: triangular(300*s, 500*s, 840*s), Mark: Estimate,
			Source: "ONIE install: 3 to 8 min, 1 to 3 min of first boot, then what it is provisioned with"},
		{Of: string(rack.DHCPNOS), Takes: triangular(60*s, 100*s, 180*s), Mark: Estimate, Source: "the check of SONiC allows 600 s for installation and first login"},
		{Of: string(rack.DHCPNOS), Roles: onie, Takes: triangular(240*s, 400*s, 660*s), Mark: Estimate,
			Source: "ONIE install: 3 to 8 min, then 1 to 3 min of first boot"},
		{Of: string(rack.DHCPOS), Takes: triangular(180*s, 260*s, 360*s), Mark: Estimate, Source: "ESXi first boot: 3 to 6 min"},
	}
}

// durations finds rows of the table.
type durations struct{ rows []Duration }

// find is how long something takes a role; image is the size of the device's
// image in bytes.
func (t durations) find(of string, role rack.Role, image int64) (Distribution, error) {
	best := -1
	for i := range t.rows {
		r := &t.rows[i]
		if r.Of != of || (r.Roles != nil && !slices.Contains(r.Roles, role)) {
			continue
		}
		if best < 0 || r.Roles != nil {
			best = i
		}
	}
	if best < 0 {
		return Distribution{}, fmt.Errorf("how long %q takes a %s is not known: add it to the table of durations of internal/simulate", of, role)
	}
	d := t.rows[best].Takes
	if n := t.rows[best].Image; n > 0 && image > n {
		d = d.times(float64(image) / float64(n))
	}
	return d, nil
}
