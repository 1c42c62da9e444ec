package wire

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxHolders bounds how many programs are named.
const maxHolders = 4

// Holders names the programs that hold a port of "udp" or "tcp", as far as this
// process may see them: "dnsmasq (process 812)". Those of other network
// namespaces do not count.
func Holders(protocol string, port uint16) []string {
	inodes := map[string]bool{}
	for _, table := range []string{protocol, protocol + "6"} {
		for inode := range socketsOf("/proc/thread-self/net/"+table, port) {
			inodes["socket:["+inode+"]"] = true
		}
	}
	if len(inodes) == 0 {
		return nil
	}
	var out []string
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil || !inodes[to] {
			continue
		}
		pid := strings.Split(l, "/")[2]
		if seen[pid] || len(out) == maxHolders {
			continue
		}
		seen[pid] = true
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue // it ended
		}
		out = append(out, fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid))
	}
	return out
}

// socketsOf are the inodes of the sockets of one table that hold a port: for TCP,
// those that listen.
func socketsOf(table string, port uint16) map[string]bool {
	const tcpListen = "0A"
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	out := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
		w := strings.Fields(s.Text())
		if len(w) < 10 || strings.Contains(table, "tcp") && w[3] != tcpListen {
			continue
		}
		_, hex, ok := strings.Cut(w[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); ok && err == nil && uint16(n) == port {
			out[w[9]] = true
		}
	}
	return out
}
