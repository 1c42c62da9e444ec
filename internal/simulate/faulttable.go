package simulate

import "github.com/rackreach/rackreach/internal/rack"

// realistic is the table of failures of the protocol facts (§7) for a site with
// a tuned network and mixed hardware on its first build. Hardly any rate is
// published: where the facts suggest a range, its middle is taken, and every
// probability is an estimate. What one site or one model suffers from is left
// out (no portfast: 20 % of network boots; one model that loses its boot entry
// in every third installation): such a site writes a file (ParseFaults).
func realistic() []Fault {
	const mgmt, tor, spine, server = rack.ManagementSwitch, rack.ToRSwitch, rack.InterRackSwitch, rack.Server
	table := []struct {
		roles []rack.Role
		fault Fault
	}{
		{[]rack.Role{tor, spine, server}, Fault{Step: FirstContact, Kind: Silent, Scope: PerDevice, Probability: 0.02, Reason: "wrong management cable",
			Source: "1 to 3 % of the links of a first build"}},
		{[]rack.Role{tor, spine, server}, Fault{Step: FirstContact, Kind: Silent, Scope: PerDevice, Probability: 0.0075, Reason: "wrong MAC in the inventory", Inventory: true,
			Source: "0.5 to 1 % of a first build"}},
		{[]rack.Role{server}, Fault{Step: FirstContact, Kind: Silent, Scope: PerDevice, Probability: 0.0075, Reason: "dead on arrival",
			Source: "0.5 to 1 % of servers"}},
		{[]rack.Role{server}, Fault{Step: DataCable, Kind: Silent, Scope: PerCable, Probability: 0.02, Reason: "wrong data cable",
			Source: "1 to 3 % of the links of a first build"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "bmc-login", Kind: Refused, Scope: PerAttempt, Probability: 0.0075, Reason: "BMC hangs or its session table is full",
			Source: "ironic retries it; 0.5 to 1 %"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "network-boot", Kind: Silent, Scope: PerAttempt, Probability: 0.015, Reason: "boot override ignored",
			Source: "bmclib#459, metal-operator#80; 1 to 2 %"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "network-boot", Kind: Silent, Scope: PerAttempt, Probability: 0.01, Reason: "DHCP packets lost (spanning tree)",
			Source: "ironic troubleshooting; 1 %"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "network-boot", Kind: Silent, Scope: PerAttempt, Probability: 0.005, Reason: "link not up while the firmware asked",
			Source: "RackHD#43: 1 of 5 on a site without portfast; 0.5 % on a tuned one"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "boot-loader", Kind: Silent, Scope: PerAttempt, Probability: 0.005, Reason: "firmware fell silent after the DHCP offer (PXE-E18)",
			Source: "xcat-core#4830; 0.5 %"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "boot-loader", Kind: Silent, Scope: PerAttempt, Probability: 0.01, Reason: "TFTP stalled",
			Source: "reported of many sites; 1 %"}},
		{[]rack.Role{mgmt, tor, spine, server}, Fault{Step: "image-transfer", Kind: Silent, Scope: PerAttempt, Probability: 0.001, Reason: "HTTP stalled",
			Source: "a tenth of TFTP's"}},
		{[]rack.Role{mgmt, server}, Fault{Step: "write", Kind: Refused, Scope: PerAttempt, Probability: 0.001, Reason: "checksum of the image is wrong",
			Source: "0.1 %"}},
		{[]rack.Role{tor, spine}, Fault{Step: "install", Kind: Refused, Scope: PerAttempt, Probability: 0.001, Reason: "checksum of the image is wrong",
			Source: "0.1 %"}},
		{[]rack.Role{tor, spine}, Fault{Step: "install", Kind: Silent, Scope: PerAttempt, Probability: 0.001, Reason: "installer of the switch stalled",
			Source: "seen (sonic-buildimage#26004), no rate"}},
		{[]rack.Role{server}, Fault{Step: "write", Kind: Refused, Scope: PerDevice, Probability: 0.0075, Reason: "disk missing, or holds what the installer will not overwrite",
			Source: "ESXi wants --overwritevmfs; 0.5 to 1 %"}},
	}
	var out []Fault
	for _, row := range table {
		for _, role := range row.roles {
			f := row.fault
			f.Role, f.Mark = role, Estimate
			out = append(out, f)
		}
	}
	return out
}
