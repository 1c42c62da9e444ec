package snmp

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gosnmp/gosnmp"

	"github.com/rackreach/rackreach/internal/adjacency"
)

// Tables, by the object identifier of their rows.
const (
	lldpRem  = ".1.0.8802.1.1.2.1.4.1.1"   // lldpRemEntry
	lldpLoc  = ".1.0.8802.1.1.2.1.3.7.1"   // lldpLocPortEntry
	qFDB     = ".1.3.6.1.2.1.17.7.1.2.2.1" // dot1qTpFdbEntry
	dFDB     = ".1.3.6.1.2.1.17.4.3.1"     // dot1dTpFdbEntry
	basePort = ".1.3.6.1.2.1.17.1.4.1.2"   // dot1dBasePortIfIndex
	ifName   = ".1.3.6.1.2.1.31.1.1.1.1"   // ifName
	learned  = 3                           // dot1qTpFdbStatus, dot1dTpFdbStatus
)

// Columns of lldpRemEntry, and of lldpLocPortEntry.
const (
	remChassisKind, remChassis, remPortKind, remPort, remDescription, remSystem = "4", "5", "6", "7", "8", "9"
	locPortKind, locPort, locDescription                                        = "2", "3", "4"
)

// Kinds of identifiers (IEEE 802.1AB-2016 tables 8-2 and 8-3).
const (
	chassisIsMAC, chassisIsAddress       = 4, 5
	portIsMAC, portIsAddress, portIsName = 3, 4, 5
)

// maxIndex bounds the parts of an index: the longest has a number and six bytes.
const maxIndex = 8

// maxOctets bounds what is kept of a text: LLDP and ifName have no longer ones (IEEE
// 802.1AB-2016 §8.5, RFC 2579 DisplayString).
const maxOctets = 255

// value is what stands in one place of a table.
type value struct {
	number int
	bytes  []byte
}

// tables are what a switch has answered: by table, by the rest of the identifier.
type tables struct{ values map[string]map[string]value }

func newTables(roots ...string) *tables {
	t := &tables{map[string]map[string]value{}}
	for _, r := range roots {
		t.values[r] = map[string]value{}
	}
	return t
}

// add takes in one value of a table. What is no number and no text is left out.
func (t *tables) add(root string, v gosnmp.SnmpPDU) {
	rest, ok := strings.CutPrefix(v.Name, root+".")
	if !ok || t.values[root] == nil || strings.Count(rest, ".") > maxIndex {
		return
	}
	switch x := v.Value.(type) {
	case int:
		t.values[root][rest] = value{number: x}
	case uint:
		t.values[root][rest] = value{number: int(x)}
	case []byte:
		t.values[root][rest] = value{bytes: bytes.Clone(x[:min(len(x), maxOctets)])} // x is a part of its packet
	}
}

// neighbours are the rows of lldpRemTable. Each is known by a time, the number of the
// local port, and a number of its own.
func (t *tables) neighbours() ([]adjacency.Neighbour, error) {
	rem, loc := t.values[lldpRem], t.values[lldpLoc]
	var out []adjacency.Neighbour
	for _, key := range slices.Sorted(maps.Keys(rem)) {
		column, index, _ := strings.Cut(key, ".")
		parts := strings.Split(index, ".")
		if column != remPort || len(parts) != 3 {
			continue
		}
		at := func(c string) value { return rem[c+"."+index] }
		out = append(out, adjacency.Neighbour{
			Port: localPort(loc, parts[1]), System: string(at(remSystem).bytes), Description: string(at(remDescription).bytes),
			Chassis:    identifier(at(remChassis).bytes, at(remChassisKind).number, chassisIsMAC, chassisIsAddress),
			RemotePort: identifier(at(remPort).bytes, at(remPortKind).number, portIsMAC, portIsAddress),
		})
	}
	return adjacency.Bounded(out)
}

// localPort is the name of a port of the switch: what it announces itself, where that is
// the name of an interface, else its description.
func localPort(loc map[string]value, number string) string {
	id, description := loc[locPort+"."+number], loc[locDescription+"."+number]
	if loc[locPortKind+"."+number].number == portIsName || len(description.bytes) == 0 {
		return string(id.bytes)
	}
	return string(description.bytes)
}

// identifier is a chassis or a port in words.
func identifier(b []byte, kind, isMAC, isAddress int) string {
	switch {
	case kind == isMAC && len(b) == 6:
		return net.HardwareAddr(b).String()
	case kind == isAddress && len(b) > 1: // its kind, then the address
		if a, ok := netip.AddrFromSlice(b[1:]); ok {
			return a.String()
		}
	}
	return string(b)
}

// stations are the learned rows of the MAC table: by VLAN where the switch tells it so.
func (t *tables) stations() ([]adjacency.Station, error) {
	fdb, skip := t.values[qFDB], 1 // a number of the VLAN, then the MAC
	if len(fdb) == 0 {
		fdb, skip = t.values[dFDB], 0
	}
	var out []adjacency.Station
	for _, key := range slices.Sorted(maps.Keys(fdb)) {
		column, index, _ := strings.Cut(key, ".")
		parts := strings.Split(index, ".")
		if column != "2" || len(parts) != skip+6 { // dot1qTpFdbPort, dot1dTpFdbPort
			continue
		}
		if s, known := fdb["3."+index]; known && s.number != learned {
			continue
		}
		if port := t.port(fdb[key].number); port != "" {
			out = append(out, adjacency.Station{Port: port, MAC: mac(parts[skip:])})
		}
	}
	return adjacency.BoundedStations(out)
}

// port is the name of a port of the bridge; "": the switch does not say.
func (t *tables) port(number int) string {
	i, ok := t.values[basePort][strconv.Itoa(number)]
	if !ok || number == 0 {
		return ""
	}
	return string(t.values[ifName][strconv.Itoa(i.number)].bytes)
}

func mac(parts []string) string {
	out := make([]byte, 0, 17)
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return ""
		}
		if len(out) > 0 {
			out = append(out, ':')
		}
		out = fmt.Appendf(out, "%02x", n)
	}
	return string(out)
}
