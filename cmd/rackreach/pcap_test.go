//go:build netns

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/wire"
)

// recording is what tcpdump hears on an interface.
type recording struct {
	w    *world
	file string
	p    *process
}

// heardDHCP is one DHCP message as it was on the wire.
type heardDHCP struct {
	wire.UDP
	*dhcpv4.DHCPv4
}

func (m heardDHCP) String() string {
	return fmt.Sprintf("%s %s → %s (to %s) for %s: ciaddr %s, yiaddr %s, giaddr %s, 50 %s, 54 %s, 82 %x", m.MessageType(), m.Source, m.Target, m.To, m.ClientHWAddr, m.ClientIPAddr, m.YourIPAddr, m.GatewayIPAddr,
		m.RequestedIPAddress(), m.ServerIdentifier(), m.Options.Get(dhcpv4.OptionRelayAgentInformation))
}

// record starts to record; it returns once tcpdump listens.
func (h *host) record(on string) *recording {
	h.w.t.Helper()
	r := &recording{w: h.w, file: h.path(on + ".pcap")}
	r.p = h.start("tcpdump", "-i", on, "-U", "-n", "-s", "0", "--immediate-mode", "-Z", "root", "-w", r.file, "udp port 67 or udp port 68 or udp port 4011 or icmp6")
	r.p.says("listening on")
	return r
}

// all are the DHCP messages so far.
func (r *recording) all() (out []heardDHCP) {
	r.w.t.Helper()
	b, err := os.ReadFile(r.file)
	if err != nil {
		r.w.t.Fatal(err)
	}
	for _, frame := range frames(b) {
		u, err := wire.ParseUDP(frame)
		if err != nil {
			continue
		}
		m, err := dhcpv4.FromBytes(u.Payload)
		if err != nil {
			r.w.t.Errorf("heard what is no DHCP message: %v: %x", err, u.Payload)
			continue
		}
		out = append(out, heardDHCP{u, m})
	}
	return out
}

// so are those of one client and one type ("" is any).
func (r *recording) so(mac, kind string) (out []heardDHCP) {
	r.w.t.Helper()
	for _, m := range r.all() {
		if strings.EqualFold(m.ClientHWAddr.String(), mac) && (kind == "" || m.MessageType().String() == kind) {
			out = append(out, m)
		}
	}
	return out
}

// keep puts the recording into the folder CLIENTS_PCAP, if there is one.
func (r *recording) keep(name string) {
	r.w.t.Helper()
	r.p.signal(syscall.SIGINT)
	<-r.p.ended
	dir := os.Getenv("CLIENTS_PCAP")
	if dir == "" {
		return
	}
	b, err := os.ReadFile(r.file)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".pcap"), b, 0o644)
	}
	if err != nil {
		r.w.t.Error(err)
	}
}

// frames are the frames of a pcap file as tcpdump writes it here: little endian,
// Ethernet. What is not yet whole is left out.
func frames(b []byte) (out [][]byte) {
	const file, head = 24, 16
	if len(b) < file {
		return nil
	}
	for b = b[file:]; len(b) >= head; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if len(b) < head+n {
			break
		}
		out = append(out, b[head:head+n])
		b = b[head+n:]
	}
	return out
}

// judge holds what was heard of one client, which was given one address and nothing
// else by the agent, against the RFC.
func (s *segment) judge(name, mac, address string) {
	s.t.Helper()
	s.heard.keep(name)
	agent, want := netip.MustParseAddr(clientAgent), netip.MustParseAddr(address)
	if net.ParseIP(address).Mask(net.CIDRMask(24, 32)).Equal(net.ParseIP(dataAgent).Mask(net.CIDRMask(24, 32))) {
		agent = netip.MustParseAddr(dataAgent)
	}
	heard := s.heard.so(mac, "")
	story := &strings.Builder{}
	for _, m := range heard {
		fmt.Fprintln(story, m)
	}
	count := map[string]int{}
	for _, m := range heard {
		kind := m.MessageType().String()
		count[kind]++
		if m.OpCode == dhcpv4.OpcodeBootRequest {
			if kind == "REQUEST" && !m.ClientIPAddr.IsUnspecified() && m.Target.Addr() == agent {
				count["renewal"]++
			}
			continue
		}
		switch {
		case m.Source.Addr() != agent || m.Source.Port() != 67:
			s.t.Errorf("an answer of another than the agent: %s", m)
		case kind == "NAK":
		case m.YourIPAddr.String() != want.String():
			s.t.Errorf("an answer with another address than %s: %s", want, m)
		case m.Target.Addr() != want && !m.IsBroadcast():
			s.t.Errorf("an answer that did not go to %s although no broadcast was asked for: %s", want, m)
		case m.Target.Addr() == want && m.To.String() != mac:
			s.t.Errorf("an answer to another MAC than %s: %s", mac, m)
		}
	}
	for kind, least := range map[string]int{"DISCOVER": 1, "OFFER": 1, "REQUEST": 3, "ACK": 3, "RELEASE": 1, "renewal": 1} {
		if count[kind] < least {
			s.t.Errorf("%s: heard %d × %s, want at least %d", name, count[kind], kind, least)
		}
	}
	if s.t.Failed() {
		s.t.Logf("what was heard of %s:\n%s", name, story)
	}
}
