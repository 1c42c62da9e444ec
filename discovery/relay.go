package discovery

import (
	"net/netip"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/internal/rack"
)

// Sub-options of option 82.
const (
	subCircuitID  = 1  // RFC 3046 section 3.1
	subRemoteID   = 2  // RFC 3046 section 3.2
	subLink       = 5  // RFC 3527 section 3
	subServerID   = 11 // RFC 5107 section 4
	subSourcePort = 19 // RFC 8357 section 4
)

const optionRelay = 82

// relayInfo is what option 82 says.
type relayInfo struct {
	raw        []byte     // code, length and value as they came; nil: no option 82
	via        rack.Port  // the port that it names, in the words of the cabling as far as that has it; zero: none
	override   netip.Addr // the server identifier that the relay wants in replies; invalid: none
	link       netip.Addr // an address of the client's network, in place of giaddr; invalid: none
	sourcePort bool       // replies go to the relay's UDP source port
}

// readRelay reads option 82 from the options area of a packet that was parsed
// without error. Of a sub-option that comes twice, the first counts.
//
// A second option 82 is refused unless it continues a first one of full length
// (RFC 3396): a client could put its own before the relay's and so speak for
// another port.
func readRelay(area []byte, giaddr netip.Addr, ports *relay.Ports) (relayInfo, error) {
	raw, value, split := rawOption(area, optionRelay)
	if raw == nil {
		return relayInfo{}, nil
	}
	if split {
		return relayInfo{}, errTwoRelays
	}
	info := relayInfo{raw: raw}
	var remote, circuit []byte
	err := classify.SubOptions(value, func(code byte, v []byte) {
		switch {
		case code == subCircuitID && circuit == nil:
			circuit = v
		case code == subRemoteID && remote == nil:
			remote = v
		case code == subLink && !info.link.IsValid():
			if a, ok := addr4(v); ok && usable(a) {
				info.link = a
			}
		case code == subServerID && !info.override.IsValid():
			if a, ok := addr4(v); ok && usable(a) {
				info.override = a
			}
		case code == subSourcePort:
			info.sourcePort = true
		}
	})
	if err != nil {
		return relayInfo{}, errRelay
	}
	info.via = ports.Find(circuit, remote, giaddr)
	return info, nil
}

// rawOption collects every occurrence of an option in an options area: the
// bytes as they stand there, and the values joined (RFC 3396). split reports
// that an occurrence which is not of full length was followed by another.
func rawOption(area []byte, code byte) (raw, value []byte, split bool) {
	last := 255
	for i := 0; i < len(area) && area[i] != optionEnd; {
		if area[i] == optionPad {
			i++
			continue
		}
		if i+2 > len(area) || i+2+int(area[i+1]) > len(area) {
			break
		}
		n := int(area[i+1])
		if area[i] == code {
			split = split || last != 255
			last = n
			raw = append(raw, area[i:i+2+n]...)
			value = append(value, area[i+2:i+2+n]...)
		}
		i += 2 + n
	}
	return raw, value, split
}

// addr4 reads an option value that is one IPv4 address.
func addr4(v []byte) (netip.Addr, bool) {
	if len(v) != 4 {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(v)
	return a, ok
}

// usable reports whether an address can be one machine's: nothing is ever sent
// to a group because a packet asked for it.
func usable(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] != 0 && !a.IsMulticast() && a.As4()[0] < 240
}

// sameBytes reports whether every byte of v is b.
func sameBytes(v []byte, b byte) bool {
	for _, x := range v {
		if x != b {
			return false
		}
	}
	return true
}
