package snmp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bridgeMIB is what this program answers for net-snmp's snmpd, which has no MIB of
// bridges and asks a program of ours (snmpd.conf(5), pass): port 7 is the interface lo.
var bridgeMIB = [][3]string{
	{basePort + ".7", "integer", "1"},
	{qFDB + ".2.100.2.0.0.0.0.1", "integer", "7"}, {qFDB + ".2.100.2.0.0.0.0.2", "integer", "7"},
	{qFDB + ".3.100.2.0.0.0.0.1", "integer", "3"}, {qFDB + ".3.100.2.0.0.0.0.2", "integer", "4"},
}

// passed answers one question of snmpd, "-g OID" or "-n OID", and reports whether that is
// what this program was started for.
func passed(args []string) bool {
	if len(args) != 3 || args[1] != "-g" && args[1] != "-n" {
		return false
	}
	for _, row := range bridgeMIB {
		if c := slices.Compare(numbers(row[0]), numbers(args[2])); c == 0 && args[1] == "-g" || c > 0 && args[1] == "-n" {
			fmt.Printf("%s\n%s\n%s\n", row[0], row[1], row[2])
			return true
		}
	}
	return true
}

func numbers(oid string) (out []int) {
	for _, s := range strings.Split(strings.Trim(oid, "."), ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}
