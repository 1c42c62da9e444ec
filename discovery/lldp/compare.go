package lldp

import (
	"fmt"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Verdict says whether a neighbour is the one of the rack file.
type Verdict string

// The verdicts.
const (
	Agrees     Verdict = "agrees"
	Differs    Verdict = "differs"
	CannotTell Verdict = "cannot-tell" // its name or its port is not in the words of the rack file
)

// Compare holds what was heard on the agent's interface against agent.cable. The
// second value is a sentence.
//
// A switch that was not imaged yet bears the name that its maker or its last owner
// gave it: a strange name is no proof of a wrong cable, another name of this rack is.
func Compare(n Neighbour, r *rack.Rack) (Verdict, string) {
	cable := r.Agent.Cable
	named := strings.EqualFold(n.System, cable.Device) || strings.EqualFold(label(n.System), cable.Device)
	fits := samePort(n.Port, cable.Name) || samePort(n.Description, cable.Name)
	_, ours := r.Device(strings.ToLower(label(n.System)))
	switch {
	case named && fits:
		return Agrees, fmt.Sprintf("we are plugged into %s, as the rack file says", n)
	case named && !n.portIsMAC:
		return Differs, fmt.Sprintf("we are plugged into %s, but the rack file says %s: move the cable, or correct agent.cable", n, cable)
	case ours && !named:
		return Differs, fmt.Sprintf("we are plugged into %s, which is another device of this rack: agent.cable is %s: move the cable, or correct the rack file", n, cable)
	case named:
		return CannotTell, fmt.Sprintf("we are plugged into %s, and it does not say which port that is; agent.cable is %s", n, cable)
	case fits:
		return CannotTell, fmt.Sprintf("we are plugged into %s; its port is that of agent.cable, %s, its name is not: it may not be imaged yet", n, cable)
	}
	return CannotTell, fmt.Sprintf("we are plugged into %s; agent.cable is %s, and neither its name nor its port is: check the cable if that is not the management switch", n, cable)
}

// samePort reports whether two spellings can be of one port: "48" is "swp48" and
// "Ethernet1/48"; "1/48" is "Ethernet1/48", but not "Ethernet2/48".
func samePort(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	if strings.EqualFold(a, b) {
		return true
	}
	a, b = numbers(a), numbers(b)
	if a == "" || b == "" {
		return false
	}
	return a == b || last(a) == b || last(b) == a
}

// numbers is a port's name from its first digit on, without leading zeros.
func numbers(s string) string {
	n := strings.IndexAny(s, "0123456789")
	if n < 0 || strings.Trim(s[n:], "0123456789/.:_-") != "" {
		return ""
	}
	s = s[n:]
	if t := strings.TrimLeft(s, "0"); t != "" && t[0] >= '0' && t[0] <= '9' {
		return t
	}
	return s
}

// last is the last number of several.
func last(s string) string { return s[strings.LastIndexAny(s, "/.:_-")+1:] }
