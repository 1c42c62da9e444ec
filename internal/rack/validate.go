package rack

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Ref says where in an expanded rack something stands.
type Ref struct {
	List  string // "" for the top level, else "devices", "links" or "vlans"
	Index int    // in Rack.Devices, Rack.Links or Rack.VLANs; 0 at the top level
	Field string // in the rack file's words: "address", "bmc.address", "data[1]", "macs[0]", "a"; "" for the whole entry
}

// Problem is one thing that a rack file must not say.
type Problem struct {
	Where Ref
	What  string // what is wrong; never a secret
	Fix   string // what to write instead
}

// Bounds of what a rack may say.
const (
	maxNumber    = 65535 // of a rack
	maxLabel     = 63    // characters of a name, so that it can be a host name (RFC 1123 §2.1)
	maxInterface = 15    // characters of an interface's name, as Linux bounds it
	maxVersion   = 64    // characters of a version
	maxImageName = 128   // characters of an image's name
	maxShown     = 64    // bytes of a stranger's text in a message
)

// InterRackNumber is the number of the only rack that has inter-rack switches.
const InterRackNumber = 2

// Validate names every problem of a rack at once, sorted by where it stands:
// the top level, then devices, then links, then VLANs, in their order. A rack without
// problems may be planned and imaged. What follows only from a problem that is
// named already is left out.
func Validate(r *Rack, platforms map[string]Platform) []Problem {
	c := &checker{r: r, platforms: platforms, byName: map[string]int{}, mgmt: r.ManagementSwitchName(),
		plugged: map[Port]string{}, given: map[netip.Addr]string{}}
	c.top()
	c.networks()
	for i := range r.Devices {
		c.device(i)
	}
	c.managementSwitches()
	c.addresses()
	c.pools()
	c.router(Management)
	c.router(Data)
	c.services()
	c.dhcp()
	c.domain()
	c.bandwidth()
	c.vlans()
	c.cables()
	c.links()
	c.routes()
	c.macs()
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Where.List, b.Where.List), cmp.Compare(a.Where.Index, b.Where.Index),
			cmp.Compare(a.Where.Field, b.Where.Field), cmp.Compare(a.What, b.What))
	})
	return c.problems
}

// checker collects the problems of one rack.
type checker struct {
	r         *Rack
	platforms map[string]Platform
	byName    map[string]int // first device of that name
	mgmt      string         // the first management switch, or ""
	problems  []Problem

	plugged map[Port]string       // what each port is taken by, in words
	given   map[netip.Addr]string // what each address is taken by, in words

	rolesUnsure  bool // a role is not one of the four: who is a switch cannot be said
	mgmtUnsure   bool // there is no management switch, or more than one
	trunksUnsure bool // a cable between switches leads nowhere: data routes cannot be said
}

func (c *checker) say(list string, index int, field, fix, format string, args ...any) {
	c.problems = append(c.problems, Problem{Ref{list, index, field}, fmt.Sprintf(format, args...), fix})
}

func (c *checker) top() {
	if fix := badName(c.r.Name); fix != "" {
		c.say("", 0, "name", fix, "%s is not a name for a rack", shown(c.r.Name))
	}
	if c.r.Number < 1 || c.r.Number > maxNumber {
		c.say("", 0, "number", fmt.Sprintf("a number from 1 to %d", maxNumber), "%d is not the number of a rack", c.r.Number)
	}
	for field, name := range map[string]string{"agent.interface": c.r.Agent.Interface, "agent.bmcCable": c.r.Agent.BMCCable} {
		if name != "" && !plain(name, maxInterface, "-_.@") {
			c.say("", 0, field, "the name of an interface of the agent's machine, such as eth1", "%s is not the name of an interface", shown(name))
		}
	}
	if len(c.r.Devices) == 0 {
		c.say("", 0, "devices", "a list with one management switch, its ToR switches and servers", "the rack has no devices")
	}
}

func (c *checker) networks() {
	for _, n := range []Network{Management, Data} {
		p, field := c.r.Prefix(n), "networks."+string(n)+".cidr"
		const fix = "an IPv4 network such as 192.168.100.0/24, of /8 to /30"
		switch {
		case !p.IsValid():
			c.say("", 0, field, fix, "the %s network has no address range", n)
		case !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 30:
			c.say("", 0, field, fix, "%s cannot be the %s network", p, n)
		case p != p.Masked():
			c.say("", 0, field, p.Masked().String(), "%s is an address in a network, not a network", p)
		}
	}
	if m, d := c.r.Management, c.r.Data; m.IsValid() && d.IsValid() && m.Overlaps(d) {
		c.say("", 0, "networks.data.cidr", "a network that shares no address with "+m.String(), "data network %s overlaps management network %s", d, m)
	}
}

// device checks what one device says about itself.
func (c *checker) device(i int) {
	d := &c.r.Devices[i]
	first, twice := c.byName[d.Name]
	switch fix := badName(d.Name); {
	case fix != "":
		c.say("devices", i, "name", fix, "%s is not a name for a device", shown(d.Name))
	case d.Name == "external" || d.Name == "rack":
		c.say("devices", i, "name", "another name", "the name %s is kept for cables that lead out of the rack", d.Name)
	case twice && first != i:
		c.say("devices", i, "name", "a name that no other device has", "the name %s is given twice", d.Name)
	}
	if !twice && d.Name != "" {
		c.byName[d.Name] = i
	}
	if d.Version != "" && !plain(d.Version, maxVersion, "-_.+~") {
		c.say("devices", i, "version", "the version as the device shows it: letters, digits and -_.+~ only, or leave version out", "%s is not a version", shown(d.Version))
	}
	if d.Image != "" && !plain(d.Image, maxImageName, "-_./:@") {
		c.say("devices", i, "image", "the name of an image: letters, digits and -_./:@ only, or leave image out", "%s is not the name of an image", shown(d.Image))
	}
	if !d.Role.Valid() {
		c.rolesUnsure = true
		c.say("devices", i, "role", "one of "+joined(Roles()), "unknown role %s", shown(string(d.Role)))
		return
	}
	c.platform(i, d)
	c.bmc(i, d)
	c.access(i, d)
	c.install(i, d)
	if d.Role == InterRackSwitch && c.r.Number != InterRackNumber {
		c.say("devices", i, "role", fmt.Sprintf("number: %d at the top, or leave the inter-rack switches out", InterRackNumber),
			"inter-rack switches stand in rack %d only, this is rack %d", InterRackNumber, c.r.Number)
	}
}

func (c *checker) platform(i int, d *Device) {
	var fit []string
	for _, name := range slices.Sorted(maps.Keys(c.platforms)) {
		if p := c.platforms[name]; p.Fits(d.Role) {
			fit = append(fit, name)
		}
	}
	fix := "one of " + strings.Join(fit, ", ")
	switch p, known := c.platforms[d.Platform]; {
	case d.Platform == "":
		c.say("devices", i, "platform", fix, "no platform")
	case !known:
		c.say("devices", i, "platform", fix, "unknown platform %s", shown(d.Platform))
	case !p.Fits(d.Role):
		c.say("devices", i, "platform", fix, "platform %s is not for a %s", shown(d.Platform), d.Role)
	}
}

// bmc checks how the board controller is reached. Its credentials are never
// repeated: they may be a secret by mistake.
func (c *checker) bmc(i int, d *Device) {
	const shape = `bmc: {protocol: ipmi, address: …, credentials: "env:NAME"}`
	needed := d.Role == ManagementSwitch || d.Role == Server
	switch {
	case d.BMC == nil && needed:
		c.say("devices", i, "bmc", shape, "no bmc: a %s is booted from the network by its BMC", d.Role)
		return
	case d.BMC == nil:
		return
	case !needed:
		c.say("devices", i, "bmc", "no bmc here", "a %s is not driven by a BMC", d.Role)
	}
	if d.BMC.Protocol != "ipmi" {
		c.say("devices", i, "bmc.protocol", "ipmi", "unknown BMC protocol %s", shown(d.BMC.Protocol))
	}
	c.reference(i, "bmc.credentials", d.BMC.Credentials, "user:password")
}

// managementSwitches holds that there is exactly one.
func (c *checker) managementSwitches() {
	n := 0
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		if d.Role != ManagementSwitch {
			continue
		}
		if n++; n > 1 {
			c.say("devices", i, "role", "another role, or leave this device out", "two management switches: %s and %s; a rack has one", shown(c.mgmt), shown(d.Name))
		}
		if !d.Management.IsZero() {
			c.say("devices", i, "management", "no management here", "a management switch hangs on the agent's own cable")
		}
		if len(d.Data) > 0 {
			c.say("devices", i, "data", "no data here; name its port at the device that the cable leads to", "a management switch has no data cables of its own")
		}
	}
	if n == 0 && len(c.r.Devices) > 0 && !c.rolesUnsure {
		c.say("", 0, "devices", "one device with role: management-switch", "the rack has no management switch")
	}
	c.mgmtUnsure = n != 1 || c.rolesUnsure
}

// addresses holds that each address is in its network and given once. Switches
// and BMCs are on the management network, servers on the data network.
func (c *checker) addresses() {
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		if d.Role.Valid() {
			n := Management
			if d.Role == Server {
				n = Data
			}
			c.address(i, "address", shown(d.Name), n, d.Address)
		}
		if d.BMC != nil {
			c.address(i, "bmc.address", "the BMC of "+shown(d.Name), Management, d.BMC.Address)
		}
	}
}

func (c *checker) address(i int, field, of string, n Network, a netip.Addr) {
	p := c.r.Prefix(n)
	if p.IsValid() && p.Addr().Is4() && p.Bits() >= 8 && p.Bits() <= 30 {
		low, high := p.Masked().Addr(), broadcast(p)
		fix := fmt.Sprintf("an address from %s to %s", low.Next(), high.Prev())
		switch {
		case !a.IsValid():
			c.say("devices", i, field, fix, "%s has no address on the %s network", of, n)
		case !p.Contains(a):
			c.say("devices", i, field, fix, "address %s of %s is outside the %s network %s", a, of, n, p.Masked())
		case a == low || a == high:
			c.say("devices", i, field, fix, "address %s of %s is the network's own or its broadcast address", a, of)
		}
	}
	if !a.IsValid() {
		return
	}
	if other, twice := c.given[a]; twice {
		c.say("devices", i, field, "an address that nothing else has", "address %s is given twice: to %s and to %s", a, other, of)
		return
	}
	c.given[a] = of
}

// broadcast is the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// macs holds that no MAC and no serial number is given twice.
func (c *checker) macs() {
	mac, serial := map[string]string{}, map[string]string{}
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		for n, m := range d.MACs {
			if other, twice := mac[m]; twice {
				c.say("devices", i, fmt.Sprintf("macs[%d]", n), "the MAC that stands on the device", "MAC %s is given twice: to %s and to %s", shown(m), other, shown(d.Name))
				continue
			}
			mac[m] = shown(d.Name)
		}
		if d.Serial == "" {
			continue
		}
		if other, twice := serial[d.Serial]; twice {
			c.say("devices", i, "serial", "the serial number that stands on the device", "serial number %s is given twice: to %s and to %s", shown(d.Serial), other, shown(d.Name))
			continue
		}
		serial[d.Serial] = shown(d.Name)
	}
}

// badName says what to write instead of a name that cannot be a host name
// (RFC 1123 §2.1), or "".
func badName(s string) string {
	if plain(s, maxLabel, "-") && s == strings.ToLower(s) && s[0] != '-' && s[len(s)-1] != '-' {
		return ""
	}
	return fmt.Sprintf("1 to %d lower-case letters, digits and hyphens, no hyphen first or last", maxLabel)
}

// IsName reports whether s can be the name of a rack or a device.
func IsName(s string) bool { return badName(s) == "" && s != "external" && s != "rack" }

// IsPortName reports whether s can be the name of a switch's port.
func IsPortName(s string) bool { return plain(s, maxPortName, "-_./") && s[0] != '-' }

// plain reports whether s is 1 to limit ASCII letters, digits and characters of also.
func plain(s string, limit int, also string) bool {
	for i := range len(s) {
		if b := s[i]; (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && !strings.Contains(also, string(rune(b))) {
			return false
		}
	}
	return s != "" && len(s) <= limit
}

// variable reports whether s can be the name of an environment variable.
func variable(s string) bool {
	return plain(s, 128, "_") && (s[0] < '0' || s[0] > '9')
}

// shown is a stranger's text in a message: as it is when it is harmless, else
// escaped and cut.
func shown(s string) string {
	if plain(s, maxShown, "-_./:@") {
		return s
	}
	if len(s) > maxShown {
		return strconv.QuoteToASCII(s[:maxShown]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

func joined[T ~string](words []T) string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = string(w)
	}
	return strings.Join(s, ", ")
}
