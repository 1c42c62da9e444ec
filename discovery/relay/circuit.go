package relay

import (
	"encoding/hex"
	"net"
	"strings"
)

// Circuit is what a circuit-id says.
type Circuit struct {
	Switch string // the name of the switch, if it says so
	port   name
}

// Parse reads a circuit-id (RFC 3046 section 3.1) in any of the spellings that are
// known; others are not read.
//
//	Juniper   et-0/0/0:0.0  xe-0/0/14:2  ge-0/0/0.0  ge-4/1/1:122-500  HOST:ge-0/0/1  ae52.0
//	Arista    Ethernet3/17/1  Ethernet14:Vlan2001  HOST:Ethernet5/1  Port-Channel10,
//	          each also behind two bytes: type and length
//	Cisco     Gi1/10:2020  Ethernet1/3, and binary: 00 04, VLAN<2> module<1> port<1>
//	SONiC     HOST:fortyGigE0/4  HOST:etp5:Vlan1000
//	Cumulus   swp45  swp14s2
func Parse(raw []byte) (Circuit, bool) {
	raw = untyped(raw)
	if len(raw) == 4 && raw[0] < 0x10 { // a VLAN is at most 0x0fff, so this is no text
		return Circuit{port: name{path: [maxPath]int{int(raw[2]), int(raw[3])}, n: 2, channel: -1}}, true
	}
	s := string(raw)
	if n, _, ok := parseName(s); ok {
		return Circuit{port: n}, true
	}
	host, rest, ok := strings.Cut(s, ":")
	if !ok || host == "" {
		return Circuit{}, false
	}
	n, _, ok := parseName(rest)
	return Circuit{Switch: host, port: n}, ok
}

// untyped cuts off the two bytes that some put before their circuit-id or remote-id:
// a type, and the length of the rest (Cisco, IE 2000 Configuration Guide, figures
// 25-2 and 25-3; Arista, "circuit-id-type").
func untyped(raw []byte) []byte {
	if len(raw) > 2 && raw[0] < 0x20 && int(raw[1]) == len(raw)-2 {
		return raw[2:]
	}
	return raw
}

// hardware reads a remote-id that is a MAC: six bytes, or text in any usual notation
// (SONiC sends text). The answer is in lower case with colons.
func hardware(raw []byte) (string, bool) {
	raw = untyped(raw)
	if len(raw) == 6 && !printable(raw) {
		return net.HardwareAddr(raw).String(), true
	}
	s := string(raw)
	if m, err := net.ParseMAC(s); err == nil && len(m) == 6 {
		return m.String(), true
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) == 6 {
		return net.HardwareAddr(b).String(), true
	}
	return "", false
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
