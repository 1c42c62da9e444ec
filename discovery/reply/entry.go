package reply

import (
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/rack"
)

// DefaultLease is the lease time of an Entry that names none.
const DefaultLease = time.Hour

// Entry is the answer for one end of one device, or for a stranger. It is never
// changed after its table was built. Addresses are IPv4; an invalid one is not sent.
//
// What a client is to load or run stands here only while a ticket is open. Empty: it
// boots from its disk, or goes on with what it has. Each kind of client reads some
// of these fields and is never told of the others.
type Entry struct {
	Device string // empty for a stranger
	// End names the end of the device that speaks: "management", "data", "bmc". Who
	// holds a lease is told by Device and End, never by a client identifier.
	End string

	Address  netip.Addr    // pre-determined; invalid: out of Pool
	Pool     lease.Pool    // none: without Address this end is known but gets no answer
	Prefix   netip.Prefix  // the network's
	ServerID netip.Addr    // the agent's address on that network; invalid: the server's own
	Lease    time.Duration // whole seconds are sent; zero: DefaultLease

	Router   netip.Addr
	DNS      Servers
	NTP      Servers
	Syslog   netip.Addr // ONIE sends its progress there, asked or not
	Hostname string     // empty: none

	NextServer netip.Addr // the TFTP server; invalid: the server identifier
	BootFile   string     // TFTP path of the boot program of PXE firmware
	BootURL    string     // URL of the boot program of UEFI HTTP boot, http or https; ESXi's mboot.efi
	ScriptURL  string     // whole URL of what iPXE runs, http, https or tftp

	BootPending  bool   // what its firmware is to boot is decided in a moment; it is to ask again
	InstallerURL string // of the installer that ONIE runs
	ProvisionURL string // of what a network operating system runs or reads at its first boot
	// ProvisionOption carries ProvisionURL; 0: as the client's vendor is known to want it.
	ProvisionOption uint8
}

// Servers are those of one kind, the first that is to be asked first. Those behind an
// invalid one do not count.
type Servers [rack.MaxServers]netip.Addr

// ips lists the servers; ok reports whether there are any.
func (s Servers) ips() (out []net.IP, ok bool) {
	for _, a := range s {
		if !a.Is4() {
			break
		}
		out = append(out, a.AsSlice())
	}
	return out, len(out) > 0
}

// Client is what of a request its answer depends on.
type Client struct {
	Kind   dhcpv4.MessageType // of the request
	Stage  rack.Stage
	Vendor string // as classification names it: "Cisco"
	Class  string // option 60, as it came
	Wants  []byte // option 55; empty: none was sent
	IOSXR  bool   // it sent option 124, as Cisco's IOS XR does
	Item   []byte // option 43 sub-option 71 of PXE firmware, as it came; nil: none
	Limit  int    // longest answer that it takes, in bytes
}

// LeaseSeconds is the lease as option 51 carries it; 0xffffffff is for ever.
func (e *Entry) LeaseSeconds(c *Client) uint32 {
	l := e.Lease
	if l <= 0 {
		l = DefaultLease
	}
	if isPOAP(c) {
		l = max(l, leastPOAP)
	}
	return uint32(min(max(l/time.Second, 1), math.MaxUint32))
}

// nextServer is the TFTP server.
func (e *Entry) nextServer(serverID netip.Addr) netip.Addr {
	if e.NextServer.Is4() {
		return e.NextServer
	}
	return serverID
}

// says reports whether a client names itself so in option 60. Firmware takes an
// answer for its own only when that begins with the same name.
func (c *Client) says(name string) bool { return strings.HasPrefix(c.Class, name) }

// boots is what a client is told besides its address.
type boots struct {
	server  netip.Addr // siaddr; invalid: 0.0.0.0
	file    string     // of the header, when it fits; also option 67
	options []dhcpv4.Option
}

// also adds an option.
func (b *boots) also(code uint8, value []byte) {
	b.options = append(b.options, dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
}

// load names a boot file in the header and in option 67.
func (b *boots) load(file string) {
	b.file = file
	b.options = append(b.options, dhcpv4.OptBootFileName(file))
}

// boots finds the family of a client.
func (e *Entry) boots(c *Client, serverID netip.Addr) (b boots) {
	switch c.Stage {
	case rack.StagePXE:
		e.pxe(&b, c, serverID)
	case rack.StageHTTPBoot:
		e.httpBoot(&b, c)
	case rack.StageIPXE:
		e.ipxe(&b, serverID)
	case rack.StageONIE:
		e.onie(&b)
	case rack.StageNOS:
		e.provision(&b, c, serverID)
	}
	return b
}

// provision is what a network operating system is told at its first boot. A vendor
// that is not here is told nothing, unless its platform names the option: what it would
// make of a URL is not known.
func (e *Entry) provision(b *boots, c *Client, serverID netip.Addr) {
	if e.ProvisionOption != 0 && e.ProvisionURL != "" {
		if e.ProvisionOption == optionBootFile {
			b.load(e.ProvisionURL)
		} else {
			b.also(e.ProvisionOption, []byte(e.ProvisionURL))
		}
		return
	}
	switch c.Vendor {
	case "SONiC":
		e.sonic(b)
	case "Cumulus":
		e.cumulus(b)
	case "Arista":
		e.eos(b)
	case "Cisco":
		if c.IOSXR {
			e.eos(b) // it takes a whole URL too
			return
		}
		e.nxos(b, serverID)
	case "Juniper":
		e.junos(b, serverID)
	}
}
