package discovery

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// Option numbers of a reply (RFC 2132 unless noted).
const (
	optionSubnetMask   = 1
	optionRouter       = 3
	optionHostname     = 12
	optionBroadcast    = 28
	optionVendor       = 43
	optionLease        = 51
	optionMessageType  = 53
	optionServerID     = 54
	optionMessage      = 56
	optionRenewal      = 58
	optionRebinding    = 59
	optionClass        = 60
	optionTFTPServer   = 66
	optionBootFile     = 67
	optionURL          = 114 // as ONIE reads it: the installer's URL
	optionVendorInfo   = 125 // RFC 3925
	optionTFTPAddress  = 150 // RFC 5859
	optionEtherboot    = 175 // iPXE
	iPXENoProxyDHCP    = 0xb0
	pxeDiscovery       = 6 // of option 43, PXE 2.1: PXE_DISCOVERY_CONTROL
	pxeUseBootFileOnly = 8
)

// unasked is what a client without option 55 is told.
var unasked = [...]byte{optionSubnetMask, optionRouter, optionHostname}

// reply builds the answer (RFC 2131 section 4.3.1, table 3). truncated reports
// that an option was left out for lack of room. It is written into room as far as
// that reaches.
func (a *answer) reply(room []byte) (packet []byte, truncated bool) {
	w := newWriter(append(room[:0], a.header()...), a.limit, a.clientID, a.relay.raw)
	w.add(optionMessageType, []byte{byte(a.kind)})
	w.addr(optionServerID, a.serverID)
	lease := a.entry.leaseSeconds()
	withLease := a.kind != dhcpv4.MessageTypeNak && a.request.kind != dhcpv4.MessageTypeInform // section 4.3.5
	if withLease {
		w.seconds(optionLease, lease)
	}
	w.echo(a.clientID) // RFC 6842 section 3
	if a.kind == dhcpv4.MessageTypeNak {
		w.add(optionMessage, []byte(classify.Printable([]byte(a.why), 2*classify.MaxString)))
		return w.finish()
	}
	a.bootOptions(w)
	a.askedFor(w, withLease, lease)
	return w.finish()
}

// header is the fixed part, up to the magic cookie.
func (a *answer) header() []byte {
	p := dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        a.HWType,
		TransactionID: a.TransactionID,
		Flags:         a.Flags,
		GatewayIPAddr: a.GatewayIPAddr,
		ClientHWAddr:  a.ClientHWAddr,
	}
	switch {
	case a.kind == dhcpv4.MessageTypeNak:
		if a.giaddr.IsValid() {
			p.SetBroadcast() // section 4.3.2: the relay must broadcast it
		}
	case a.request.kind == dhcpv4.MessageTypeInform:
		p.ClientIPAddr = a.ClientIPAddr
	default:
		p.YourIPAddr = ip4(a.address)
		if a.kind == dhcpv4.MessageTypeAck {
			p.ClientIPAddr = a.ClientIPAddr
		}
	}
	if file, ok := a.bootFile(); ok {
		p.ServerIPAddr = ip4(a.nextServer())
		if len(file) <= longestFile {
			p.BootFileName = file
		}
	}
	return p.ToBytes()[:headerSize]
}

// bootFile is what network boot firmware is to load. UEFI HTTP boot takes
// nothing but a URL of HTTP; the other stages take no boot file at all.
func (a *answer) bootFile() (string, bool) {
	f := a.entry.BootFile
	if f == "" || a.kind == dhcpv4.MessageTypeNak {
		return "", false
	}
	switch a.class.Stage {
	case rack.StagePXE, rack.StageIPXE:
		return f, true
	case rack.StageHTTPBoot:
		return f, strings.HasPrefix(f, "http://") || strings.HasPrefix(f, "https://")
	}
	return "", false
}

func (a *answer) nextServer() netip.Addr {
	if a.entry.NextServer.Is4() {
		return a.entry.NextServer
	}
	return a.serverID
}

// bootOptions go to whoever boots, asked for or not: firmware and ONIE do not
// list what they need in option 55.
func (a *answer) bootOptions(w *writer) {
	if file, ok := a.bootFile(); ok {
		w.add(optionBootFile, []byte(file))
		sent := string(a.Options.Get(dhcpv4.OptionClassIdentifier))
		for _, name := range []string{"PXEClient", "HTTPClient"} { // firmware takes an offer for its own only so
			if a.class.Stage != rack.StageIPXE && strings.HasPrefix(sent, name) {
				w.add(optionClass, []byte(name))
			}
		}
		if a.class.Stage == rack.StagePXE && a.class.Arch == classify.ArchBIOS {
			w.add(optionVendor, []byte{pxeDiscovery, 1, pxeUseBootFileOnly, optionEnd})
		}
	}
	if a.class.Stage == rack.StageIPXE {
		w.add(optionEtherboot, []byte{iPXENoProxyDHCP, 1, 1}) // else it waits for a proxy
	}
	if url := a.entry.InstallerURL; url != "" && a.class.Stage == rack.StageONIE {
		w.add(optionURL, []byte(url))
		if len(url) <= math.MaxUint8-2 {
			block := binary.BigEndian.AppendUint32(nil, classify.EnterpriseOCP)
			block = append(block, byte(2+len(url)), classify.ONIEInstallerURL, byte(len(url)))
			w.add(optionVendorInfo, append(block, url...))
		}
	}
}

// askedFor adds what option 55 lists and the entry has, in the client's order
// (RFC 2131 section 4.3.1). What bootOptions added is not added again.
func (a *answer) askedFor(w *writer, withLease bool, lease uint32) {
	wants := a.Options.Get(dhcpv4.OptionParameterRequestList)
	if len(wants) == 0 {
		wants = unasked[:]
	}
	mask := a.entry.Prefix.IsValid() && a.entry.Prefix.Addr().Is4()
	// RFC 2132 section 3.3: the mask stands before the router.
	if mask && (slices.Contains(wants, optionSubnetMask) || slices.Contains(wants, optionRouter)) {
		w.add(optionSubnetMask, net.CIDRMask(a.entry.Prefix.Bits(), 32))
	}
	_, boots := a.bootFile()
	timers := withLease && lease >= 8 && lease < math.MaxUint32 // section 4.4.5: T1 < T2 < lease
	for _, code := range wants {
		switch {
		case w.has[code]:
		case code == optionRouter && a.entry.Router.Is4():
			w.addr(optionRouter, a.entry.Router)
		case code == optionHostname && a.entry.Hostname != "":
			w.add(optionHostname, []byte(a.entry.Hostname))
		case code == optionBroadcast && mask:
			w.addr(optionBroadcast, lastAddr(a.entry.Prefix))
		case code == optionRenewal && timers:
			w.seconds(optionRenewal, lease/2)
		case code == optionRebinding && timers:
			w.seconds(optionRebinding, uint32(uint64(lease)*7/8))
		case code == optionTFTPServer && boots:
			w.add(optionTFTPServer, []byte(a.nextServer().String()))
		case code == optionTFTPAddress && boots:
			w.addr(optionTFTPAddress, a.nextServer())
		}
	}
}

// leaseSeconds is the lease as option 51 carries it; 0xffffffff is for ever.
func (e *Entry) leaseSeconds() uint32 {
	if e.Lease <= 0 {
		return uint32(DefaultLease / time.Second)
	}
	return uint32(min(max(e.Lease/time.Second, 1), math.MaxUint32))
}

func ip4(a netip.Addr) net.IP {
	b := a.As4()
	return b[:]
}

// lastAddr is the broadcast address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	host := uint32(math.MaxUint32)
	if p.Bits() > 0 {
		host = 1<<(32-p.Bits()) - 1
	}
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|host)
	return netip.AddrFrom4(b)
}

// writer appends options to a header, in the order given, within a limit. Room
// for option 82, which comes last (RFC 3046 section 2.1), is kept from the
// start; where it cannot be had, option 82 is left out (section 2.2).
type writer struct {
	out       []byte
	room      int // what is left for options
	last      []byte
	has       [256]bool
	truncated bool
}

// mandatory is the room, in bytes, that an answer needs besides options 61 and 82.
const mandatory = 3 + 6 + 6 // 53, 54, 51

func newWriter(header []byte, limit int, clientID, last []byte) *writer {
	w := &writer{out: header, room: limit - len(header) - 1, last: last}
	if len(last) > w.room-mandatory-len(clientID) {
		w.last, w.truncated = nil, true
	}
	w.room -= len(w.last)
	return w
}

// add writes an option, in pieces if it is longer than 255 bytes (RFC 3396), or
// not at all if it does not fit.
func (w *writer) add(code byte, value []byte) {
	pieces := max(1, (len(value)+254)/255)
	if len(value)+2*pieces > w.room {
		w.truncated = true
		return
	}
	w.has[code] = true
	w.room -= len(value) + 2*pieces
	for range pieces {
		n := min(len(value), 255)
		w.out = append(append(w.out, code, byte(n)), value[:n]...)
		value = value[n:]
	}
}

func (w *writer) addr(code byte, a netip.Addr) { w.add(code, ip4(a)) }

func (w *writer) seconds(code byte, n uint32) {
	w.add(code, binary.BigEndian.AppendUint32(nil, n))
}

// echo writes an option as it came.
func (w *writer) echo(raw []byte) {
	if len(raw) > w.room {
		w.truncated = true
		return
	}
	w.room -= len(raw)
	w.out = append(w.out, raw...)
}

// finish closes the options and pads the packet to the least length of BOOTP.
func (w *writer) finish() (packet []byte, truncated bool) {
	w.out = append(append(w.out, w.last...), optionEnd)
	for len(w.out) < minMessage {
		w.out = append(w.out, optionPad)
	}
	return w.out, w.truncated
}
