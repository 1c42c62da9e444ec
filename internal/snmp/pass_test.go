package snmp

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// passVariable says that this program was started by snmpd, to answer it.
const passVariable = "RACKREACH_SNMP_PASS"

// bridgeMIB is what this program answers for net-snmp's snmpd, which has no MIB of
// bridges and asks a program of ours: port 7 is the interface lo.
var bridgeMIB = [][3]string{
	{basePort + ".7", "integer", "1"},
	{qFDB + ".2.100.2.0.0.0.0.1", "integer", "7"}, {qFDB + ".2.100.2.0.0.0.0.2", "integer", "7"},
	{qFDB + ".3.100.2.0.0.0.0.1", "integer", "3"}, {qFDB + ".3.100.2.0.0.0.0.2", "integer", "4"},
}

// pass answers snmpd until it ends (snmpd.conf(5), pass_persist).
func pass(in io.Reader, out io.Writer) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		switch ask := lines.Text(); ask {
		case "PING":
			fmt.Fprintln(out, "PONG")
		case "get", "getnext":
			if !lines.Scan() {
				return
			}
			fmt.Fprintln(out, passed(ask == "getnext", lines.Text()))
		}
	}
}

func passed(next bool, oid string) string {
	for _, row := range bridgeMIB {
		if c := slices.Compare(numbers(row[0]), numbers(oid)); c == 0 && !next || c > 0 && next {
			return strings.Join(row[:], "\n")
		}
	}
	return "NONE"
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
