package rack

import "slices"

// DHCP is what our DHCP service is to the networks of a rack.
type DHCP struct {
	// Mode is who gives addresses.
	Mode DHCPMode `json:",omitzero"`
	// Authoritative lets it refuse a client that it has no record of, and that asks to
	// go on with an address (RFC 2131 section 4.3.2): only where no other DHCP server is
	// on the segment, or it would drive that one's clients away.
	Authoritative bool `json:",omitzero"`
}

// DHCPMode is who gives the devices of a rack their addresses.
type DHCPMode string

// The modes.
const (
	DHCPAddresses DHCPMode = "" // we do; "addresses" in a rack file
	// DHCPProxy: the DHCP server of the site does, by reservations that are those of the
	// rack file; ours names boot files beside it (PXE 2.1 section 2.2.3).
	DHCPProxy DHCPMode = "proxy"
)

// dhcp holds that nothing of a rack rests on addresses that another server gives, or on
// what devices are told together with them.
func (c *checker) dhcp() {
	d := c.r.DHCP
	if d.Mode != DHCPAddresses && d.Mode != DHCPProxy {
		c.say("", 0, "dhcp.mode", "proxy, where the site's own DHCP server gives the addresses, or addresses, where ours does", "%s is not a mode of DHCP", shown(string(d.Mode)))
	}
	if d.Mode != DHCPProxy {
		return
	}
	if d.Authoritative {
		c.say("", 0, "dhcp.authoritative", "leave it out", "a proxy refuses nobody: addresses are the other server's")
	}
	for _, n := range []Network{Management, Data} {
		if c.r.Pool(n).First.IsValid() {
			c.say("", 0, "networks."+string(n)+".pool", "leave it out, and let the site's DHCP server have the pool", "a proxy gives no addresses of a pool")
		}
	}
	for i := range c.r.Devices {
		p, ok := c.platforms[c.r.Devices[i].Platform]
		if !ok {
			continue // said already
		}
		const fix = "a platform that boots by PXE, UEFI HTTP boot or iPXE, or leave dhcp.mode out and let our server give the addresses"
		switch {
		case p.Provision != nil:
			c.say("devices", i, "platform", fix, "platform %s is provisioned at its first boot, by what the DHCP server that gives it its address names; a proxy cannot name it", p.Name)
		case !p.firmwareBoots():
			c.say("devices", i, "platform", fix, "platform %s does not boot by PXE, UEFI HTTP boot or iPXE: only those take a boot file from a proxy", p.Name)
		}
	}
}

// firmwareBoots reports whether devices of a platform are installed by what their firmware
// boots from the network, or are not installed at all.
func (p *Platform) firmwareBoots() bool {
	installs := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Action == IssueTicket })
	onie := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Until == DHCPONIE })
	return !onie && (!installs || slices.ContainsFunc(p.Match.Stages, func(s Stage) bool { return s == StagePXE || s == StageIPXE || s == StageHTTPBoot }))
}
