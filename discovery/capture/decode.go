package capture

import (
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// maxLayers bounds the headers of one packet.
const maxLayers = 16

// kind is what a packet is.
type kind int

const (
	other kind = iota
	request
	reply
	cut
	fragment
)

// count is where packets of that kind are counted.
func (k kind) count(s *Summary) *int {
	switch k {
	case request:
		return &s.Requests
	case reply:
		return &s.Replies
	case cut:
		return &s.Cut
	case fragment:
		return &s.Fragments
	}
	return &s.Other
}

// decode reads the headers of a packet up to its first UDP message.
func decode(data []byte, link layers.LinkType) (m Message, what kind) {
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	headers := p.Layers()
	if len(headers) > maxLayers {
		return m, other
	}
	for _, l := range headers {
		switch l := l.(type) {
		case *layers.Dot1Q:
			m.VLANs = append(m.VLANs, l.VLANIdentifier)
		case *layers.IPv4:
			m.From, _ = netip.AddrFromSlice(l.SrcIP.To4())
			m.To, _ = netip.AddrFromSlice(l.DstIP.To4())
			if l.Protocol == layers.IPProtocolUDP && (l.FragOffset > 0 || l.Flags&layers.IPv4MoreFragments != 0) {
				return m, fragment
			}
		}
	}
	if udp == nil || !m.From.Is4() {
		return m, other
	}
	toServer := udp.DstPort == serverPort || udp.DstPort == bootPort
	fromServer := udp.SrcPort == serverPort || udp.SrcPort == bootPort
	if !toServer && !fromServer {
		return m, other
	}
	m.Payload = udp.Payload
	switch {
	case int(udp.Length) > 8+len(udp.Payload):
		return m, cut
	case len(m.Payload) > 0 && m.Payload[0] == 1 && toServer:
		return m, request
	case len(m.Payload) > 0 && m.Payload[0] == 2:
		return m, reply
	}
	return m, other
}
