package foreign

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/rackreach/rackreach/discovery/wire"
)

// ProbeName is the host name in our own DISCOVERs, for whoever reads a log.
const ProbeName = "rackreach-probe"

// ProbeMAC is the client that our DISCOVERs speak for: locally administered, and the
// same each time.
func ProbeMAC(own net.HardwareAddr) net.HardwareAddr {
	m := net.HardwareAddr{0x02, 'r', 'r', 0, 0, 0}
	copy(m[3:], own[len(own)-3:])
	return m
}

// IsProbe reports whether a client, by its MAC as packets say it, is the question of a
// rackreach. It is answered, and nothing is learnt from it: nobody stands behind it.
func IsProbe(mac string) bool { return strings.HasPrefix(mac, "02:72:72:") }

// Answer is the message of a server, to be broadcast to port 68, that lets another
// rackreach hear it: an offer without an address, which no client takes.
func Answer(probe net.HardwareAddr, own netip.Addr) ([]byte, error) {
	p, err := dhcpv4.New(dhcpv4.WithHwAddr(probe), dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithBroadcast(true),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own.AsSlice())))
	if err != nil {
		return nil, fmt.Errorf("make an answer to another rackreach: %w", err)
	}
	p.OpCode = dhcpv4.OpcodeBootReply
	return p.ToBytes(), nil
}

// probes are the frames that ask who serves. own has 6 bytes.
func probes(own net.HardwareAddr) ([][]byte, error) {
	var frames [][]byte
	for _, pxe := range []bool{false, true} {
		options := []dhcpv4.Modifier{
			dhcpv4.WithBroadcast(true), // else the answer goes to a MAC that nobody has
			dhcpv4.WithOption(dhcpv4.OptHostName(ProbeName)),
			dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionBootfileName),
		}
		if pxe {
			options = append(options,
				dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003000")),
				dhcpv4.WithOption(dhcpv4.OptClientArch(iana.EFI_X86_64)),
				dhcpv4.WithGeneric(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 0}))
		}
		p, err := dhcpv4.NewDiscovery(ProbeMAC(own), options...)
		if err != nil {
			return nil, err
		}
		frame, err := wire.UDP{
			From: own, To: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			Source:  netip.AddrPortFrom(netip.IPv4Unspecified(), wire.ClientPort),
			Target:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), wire.ServerPort),
			Payload: p.ToBytes(),
		}.AppendFrame(nil)
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
	return frames, nil
}
