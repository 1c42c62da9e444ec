//go:build bench

package main

import (
	"fmt"
	"path/filepath"
)

// The servers of the DHCP bench. Each has the same pool and lease time, no ping
// check, and its lease file on the same disk.

const (
	dhcpNet    = "10.7.0.0/16"
	dhcpServer = "10.7.0.1"
	dhcpRelay  = "10.7.0.2"
	dhcpFirst  = "10.7.10.0"
	dhcpLast   = "10.7.200.255" // 48,896 addresses
)

// peer is a server under test.
type peer struct {
	name  string
	guess int // DORA/s, where its first search begins (measured before)
	// start starts it on the host, with a fresh state in dir.
	start func(h *host, dir string) *process
}

func peers() map[string]peer {
	all := map[string]peer{}
	for _, p := range []peer{
		{"ours", 12000, startOurs},
		{"kea", 2700, startKea},
		{"dnsmasq", 200, startDnsmasq},
		{"null", 9000, startNull},
	} {
		all[p.name] = p
	}
	return all
}

// keaConfig: memfile that is written at once, as Debian ships it, and two threads.
const keaConfig = `{"Dhcp4": {
  "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "udp"},
  "lease-database": {"type": "memfile", "persist": true, "name": %q, "lfc-interval": 3600},
  "multi-threading": {"enable-multi-threading": true, "thread-pool-size": 2, "packet-queue-size": 64},
  "valid-lifetime": 3600,
  "subnet4": [{"subnet": %q, "pools": [{"pool": %q}]}],
  "loggers": [{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stderr"}]}]
}}`

func startKea(h *host, dir string) *process {
	file := filepath.Join(dir, "kea.json")
	h.w.write(file, fmt.Sprintf(keaConfig, filepath.Join(dir, "leases.csv"), dhcpNet, dhcpFirst+"-"+dhcpLast))
	p := h.start("env", "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "kea-dhcp4", "-c", file)
	h.w.until(nsSoon, "kea listens", func() bool { return h.listens(p) })
	return p
}

func startDnsmasq(h *host, dir string) *process {
	p := h.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--no-ping", "--quiet-dhcp",
		"--dhcp-authoritative", "--dhcp-lease-max=60000", "--user=root", "--pid-file="+filepath.Join(dir, "pid"),
		"--dhcp-leasefile="+filepath.Join(dir, "leases"), "--dhcp-range="+dhcpFirst+","+dhcpLast+",1h")
	h.w.until(nsSoon, "dnsmasq listens", func() bool { return h.listens(p) })
	return p
}

func startNull(h *host, dir string) *process {
	p := h.start(filepath.Join(h.w.dir, "nullresponder"), dhcpServer)
	p.says("answering")
	return p
}
