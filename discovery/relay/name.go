package relay

import "strings"

// name is the name of an interface, taken apart.
type name struct {
	kind    string // "ethernet", "xe", …; "": a bare number
	exact   bool   // a bundle or a management port: no front port has its number
	path    [maxPath]int
	n       int // numbers of path
	channel int // of a port that is broken out; none: -1
}

// maxPath is how many numbers a name has: slot, module, port, lane.
const maxPath = 4

// kinds are the words before the numbers, in lower case, and what they are one word
// for. What ends with a hyphen is Juniper's. Sources: J: Juniper, "circuit-id (DHCP
// Relay Agent)": (fe|ge)-fpc/pic/port; J and A and C with numbers: the circuit-ids of
// insomniacslk/dhcp, ztpv4; C: Cisco, IE 2000 and Nexus configuration guides; S:
// sonic-mgmt, dhcp_relay_test.py, and the aliases of sonic-buildimage's port_config.ini;
// M: interface names of Cumulus Linux, which ISC's dhcrelay sends as they are.
var kinds = map[string]name{
	"et-": {kind: "et"}, "xe-": {kind: "xe"}, "ge-": {kind: "ge"}, "fe-": {kind: "fe"}, "mge-": {kind: "mge"}, // J
	"ae": {kind: "lag", exact: true}, "em": mgmt, "fxp": mgmt, "me": mgmt, "vme": mgmt, // J
	"ethernet": {kind: "ethernet"}, "et": {kind: "ethernet"}, "eth": {kind: "ethernet"}, // A, C, S
	"port-channel": {kind: "lag", exact: true}, "po": {kind: "lag", exact: true}, "portchannel": {kind: "lag", exact: true}, // A, C, S
	"management": mgmt, "ma": mgmt, "mgmt": mgmt, // A, C
	"fa": {kind: "fe"}, "fastethernet": {kind: "fe"}, "gi": {kind: "ge"}, "gigabitethernet": {kind: "ge"}, // C
	"te": {kind: "xe"}, "tengigabitethernet": {kind: "xe"}, "tengige": {kind: "xe"}, // C, S
	"twe": {kind: "25ge"}, "twentyfivegige": {kind: "25ge"}, "fo": {kind: "40ge"}, "fortygigabitethernet": {kind: "40ge"}, "fortygige": {kind: "40ge"}, // C, S
	"hu": {kind: "100ge"}, "hundredgige": {kind: "100ge"}, // C, S
	"etp": {kind: "etp"}, // S
	"swp": {kind: "swp"}, // M
}

var mgmt = name{kind: "mgmt", exact: true}

// longestKind is the longest word of kinds.
const longestKind = 20

// parseName reads the name of an interface at the front of s. rest is what follows
// it: unit, VLAN, or nothing. A number alone is a name too.
func parseName(s string) (out name, rest string, ok bool) {
	i := 0
	for i < len(s) && i <= longestKind && (isLetter(s[i]) || s[i] == '-') {
		i++
	}
	if i > 0 {
		if out, ok = kinds[strings.ToLower(s[:i])]; !ok {
			return name{}, s, false
		}
	}
	juniper := i > 0 && s[i-1] == '-'
	s = strings.TrimPrefix(s[i:], " ")
	out.channel = -1
	for {
		v, digits := number(s)
		if digits == 0 || out.n == maxPath {
			return name{}, s, false
		}
		out.path[out.n] = v
		out.n++
		s = s[digits:]
		if s == "" || s[0] != '/' {
			break
		}
		s = s[1:]
	}
	if juniper && out.kind != "ge" && out.kind != "fe" && strings.HasPrefix(s, ":") {
		// A channel is one digit; more than that is a VLAN.
		if v, digits := number(s[1:]); digits == 1 && v <= 7 && (len(s) == 2 || s[2] == '.' || s[2] == ':') {
			out.channel, s = v, s[2:]
		}
	}
	if s != "" && s[0] != '.' && s[0] != ':' && s[0] != 's' { // 14s2: a breakout port of Cumulus
		return name{}, s, false
	}
	if strings.HasPrefix(s, "s") {
		v, digits := number(s[1:])
		if digits == 0 || digits+1 != len(s) || out.kind != "swp" {
			return name{}, s, false
		}
		out.channel, s = v, ""
	}
	return out, s, true
}

// number reads at most 5 decimal digits.
func number(s string) (v, digits int) {
	for digits < len(s) && digits < 6 && s[digits] >= '0' && s[digits] <= '9' {
		v = 10*v + int(s[digits]-'0')
		digits++
	}
	if digits == 6 {
		return 0, 0
	}
	return v, digits
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// is reports whether two names are of one port, as far as both say: the same
// numbers, the same channel, the same word or one of them without.
func (a *name) is(b *name) bool {
	return a.n == b.n && a.path == b.path && a.channel == b.channel && (a.kind == b.kind || !a.exact && !b.exact && (a.kind == "" || b.kind == ""))
}

// label reports whether a port that is printed on the switch as b says, with fewer
// numbers, may be the one of name a.
func (a *name) label(b *name) bool {
	if a.exact || b.exact || b.n >= a.n || b.n == 0 || (b.kind != "" && b.kind != a.kind) || (a.channel != b.channel && !(a.channel == 0 && b.channel < 0)) {
		return false
	}
	// Its lane is 1, and is not printed.
	if a.path[a.n-1] == 1 && b.n == a.n-1 && equal(a.path[:b.n], b.path[:b.n]) {
		return true
	}
	// Slot and module are the only ones there are, and are not printed.
	for _, v := range a.path[:a.n-b.n] {
		if v > 1 {
			return false
		}
	}
	return equal(a.path[a.n-b.n:a.n], b.path[:b.n])
}

func equal(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
