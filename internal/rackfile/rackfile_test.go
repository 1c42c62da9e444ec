package rackfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// table is a small table of platforms, with the names that the examples use.
func table() map[string]rack.Platform {
	out := map[string]rack.Platform{}
	for name, role := range map[string]rack.Role{"sim-mgmt": rack.ManagementSwitch, "sim-tor": rack.ToRSwitch, "sim-spine": rack.InterRackSwitch, "sim-server": rack.Server} {
		out[name] = rack.Platform{Name: name, Roles: []rack.Role{role}}
	}
	return out
}

// whole is a rack file without a problem; tests replace lines of it.
const whole = `apiVersion: rackreach/v1
kind: Rack
name: r1
number: 1
agent: {cable: "mgmt-1:48"}
networks:
  management: {cidr: 192.168.100.0/24}
  data: {cidr: 10.0.1.0/24}
devices:
  - {name: mgmt-1, role: management-switch, platform: sim-mgmt, address: 192.168.100.1, bmc: {protocol: ipmi, address: 192.168.100.100, credentials: "env:RACK_BMC"}}
  - {name: "tor-{1..2}", role: tor-switch, platform: sim-tor, address: "192.168.100.{2..3}", management: "mgmt-1:{45..46}", data: "mgmt-1:{43..44}"}
  - name: "server-{09..10}"
    role: server
    platform: sim-server
    image: esx-9
    address: "10.0.1.{11..12}"
    bmc: {protocol: ipmi, address: "192.168.100.{101..102}", credentials: "env:RACK_BMC"}
    management: "mgmt-1:{1..2}"
    data: ["tor-1:{1..2}", "tor-2:{1..2}"]
    protect: true
links:
  - {a: "tor-1:53", b: "tor-2:53", kind: peer}
  - {a: "tor-{1..2}:54", b: "external:datacenter"}
`

const goodInventory = "slot,mac,serial\nserver-09,02-00-00-00-00-0A 0200.0000.000b,SN9\nserver-09,02:00:00:00:00:0c,\ntor-1,,SN1\n"

// opened gives the same bytes whatever the path.
func opened(csv string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if csv == "" {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return []byte(csv), nil
	}
}

func TestParse(t *testing.T) {
	r, err := Parse("racks/r1.yaml", []byte(whole+"inventory: r1.csv\n"), func(path string) ([]byte, error) {
		if path != filepath.Join("racks", "r1.csv") {
			t.Errorf("opened %s", path)
		}
		return []byte(goodInventory), nil
	}, table())
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "r1" || r.Number != 1 || r.Agent.Cable.String() != "mgmt-1:48" || r.Management.String() != "192.168.100.0/24" || r.Data.String() != "10.0.1.0/24" {
		t.Errorf("top level: %+v", r)
	}
	var devices []string
	for i := range r.Devices {
		d := &r.Devices[i]
		s := fmt.Sprintf("%s %s %s %s %s %v %v %q", d.Name, d.Role, d.Address, d.Management, d.Data, d.Protect, d.MACs, d.Serial+d.Image)
		if d.BMC != nil {
			s += fmt.Sprintf(" %v", *d.BMC)
		}
		devices = append(devices, s)
	}
	want := []string{
		`mgmt-1 management-switch 192.168.100.1 : [] false [] "" {ipmi 192.168.100.100 env:RACK_BMC}`,
		`tor-1 tor-switch 192.168.100.2 mgmt-1:45 [mgmt-1:43] false [] "SN1"`,
		`tor-2 tor-switch 192.168.100.3 mgmt-1:46 [mgmt-1:44] false [] ""`,
		`server-09 server 10.0.1.11 mgmt-1:1 [tor-1:1 tor-2:1] true [02:00:00:00:00:0a 02:00:00:00:00:0b 02:00:00:00:00:0c] "SN9esx-9" {ipmi 192.168.100.101 env:RACK_BMC}`,
		`server-10 server 10.0.1.12 mgmt-1:2 [tor-1:2 tor-2:2] true [] "esx-9" {ipmi 192.168.100.102 env:RACK_BMC}`,
	}
	if !reflect.DeepEqual(devices, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(devices, "\n"), strings.Join(want, "\n"))
	}
	links := fmt.Sprint(r.Links)
	if links != "[{tor-1:53 tor-2:53 peer} {tor-1:54 external:datacenter trunk} {tor-2:54 external:datacenter trunk}]" {
		t.Error(links)
	}
}

// TestProblems holds every message, word by word: a line of the good file is
// replaced, and this is what comes of it.
func TestProblems(t *testing.T) {
	const bmcShape = `bmc: {protocol: ipmi, address: …, credentials: "env:NAME"}`
	const deviceKeyList = "one of name, role, platform, image, version, address, bmc, management, data, access, install, protect"
	const reference = `"env:NAME", "file:/PATH", or "age:/PATH" of a file that is encrypted with age, which holds user:password`
	for _, tt := range []struct{ name, old, new, want string }{
		{"syntax of the scanner", "name: r1", "name: 'r1", "r:3: not YAML: found unexpected end of stream; write: YAML; look for a missing quote, bracket or space before this line"},
		{"syntax in the first line", whole, "}", "r:1: not YAML: did not find expected node content; write: YAML; look for a missing quote, bracket or space before this line"},
		{"tab", "name: r1", "\tname: r1", "r:3: not YAML: the line begins with a tab; indent with spaces; write: YAML; look for a missing quote, bracket or space before this line"},
		{"syntax", "kind: Rack", "kind: [Rack", "r:2: not YAML: did not find expected ',' or ']'; write: YAML; look for a missing quote, bracket or space before this line"},
		{"unknown anchor", "kind: Rack", "kind: *hunter2", "r:2: not YAML: an alias (*) of something that is not there; text that begins with * stands in quotes; write: YAML; look for a missing quote, bracket or space before this line"},
		{"empty", whole, "", "r:1: the file is empty; write: apiVersion: rackreach/v1 and what follows, as in examples/rack-1.yaml"},
		{"only a comment", whole, "# nothing\n", "r:1: the file is empty; write: apiVersion: rackreach/v1 and what follows, as in examples/rack-1.yaml"},
		{"a list", whole, "- a\n", "r:1: the rack file is not a set of keys and values; write: keys and values: apiVersion, kind, name, number, agent, networks, services, dhcp, vlans, devices, links, inventory"},
		{"two documents", "links:", "---\nlinks:", "r:21: a second document in one file; write: one rack a file"},
		{"header", "apiVersion: rackreach/v1\nkind: Rack", "apiVersion: rackreach/v2\nkind: Fleet",
			`r:1: apiVersion is "rackreach/v2", which this version does not read; write: rackreach/v1` + "\n" + `r:2: kind is "Fleet", which this version does not read; write: Rack`},
		{"missing keys", "kind: Rack\nname: r1\nnumber: 1\n", "", "r:1: kind is missing; write: kind: Rack\nr:1: name is missing; write: name: and the rack's name, such as r1\nr:1: number is missing; write: number: and the rack's number, such as 1"},
		{"unknown key", "number: 1", "number: 1\ncolour: blue", `r:5: unknown key "colour" in the rack file; write: one of apiVersion, kind, name, number, agent, networks, services, dhcp, vlans, devices, links, inventory`},
		{"unknown key of a device", "    protect: true", "    protected: true", `r:20: unknown key "protected" in the device; write: ` + deviceKeyList},
		{"key twice", "number: 1", "number: 1\nnumber: 2", "r:5: key number is given twice in the rack file; write: it once"},
		{"number", "number: 1", "number: one", "r:4: number is not a whole number; write: a number such as 2"},
		{"protect", "protect: true", "protect: yes", "r:20: protect is neither true nor false; write: true or false"},
		{"name is a number", "name: r1", "name: 7", "r:3: name is not text; write: one text, in quotes"},
		{"name is empty", "name: r1", "name:", "r:3: name is empty; write: a value, or leave the key out"},
		{"agent", `agent: {cable: "mgmt-1:48"}`, "agent: {interface: eth1}", `r:5: agent.cable is missing; write: agent: {cable: "mgmt-1:48"}, with the port that the agent is plugged into`},
		{"no agent", `agent: {cable: "mgmt-1:48"}`, "", `r:1: agent is missing; write: agent: {cable: "mgmt-1:48"}, with the port that the agent is plugged into`},
		{"agent's port", `"mgmt-1:48"}`, `"mgmt-1"}`, `r:5: agent.cable: "mgmt-1" is not a port; write: DEVICE:PORT, such as mgmt-1:48`},
		{"agent elsewhere", `"mgmt-1:48"}`, `"tor-1:48"}`, "r:5: the agent's cable is on tor-1:48, not on the management switch mgmt-1; write: mgmt-1:PORT"},
		{"network", "10.0.1.0/24", "10.0.1.0", `r:8: networks.data.cidr: "10.0.1.0" is not a network; write: a network such as 192.168.100.0/24`},
		{"network missing", "  data: {cidr: 10.0.1.0/24}\n", "", "r:7: networks.data is missing; write: data: {cidr: 192.168.100.0/24}"},
		{"network's key", "data: {cidr", "data: {range", "r:8: networks.data.cidr is missing; write: cidr: 192.168.100.0/24\n" + `r:8: unknown key "range" in networks.data; write: one of cidr, pool, strangers, router`},
		{"pool is no range", "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.200}", `r:8: networks.data.pool: "10.0.1.200" is not a range of addresses; write: FIRST-LAST, such as 10.0.1.200-10.0.1.250`},
		{"pool of names, strangers", "10.0.1.0/24}", "10.0.1.0/24, pool: a-b, strangers: true}", `r:8: networks.data.pool: "a-b" is not a range of addresses; write: FIRST-LAST, such as 10.0.1.200-10.0.1.250`},
		{"pool elsewhere", "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.2.200-10.0.2.250}", "r:8: pool 10.0.2.200-10.0.2.250 is not within the data network 10.0.1.0/24; write: FIRST-LAST, addresses from 10.0.1.1 to 10.0.1.254"},
		{"pool backwards", "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.250-10.0.1.200}", "r:8: pool 10.0.1.250-10.0.1.200 runs backwards; write: 10.0.1.200-10.0.1.250"},
		{"pool to the broadcast address", "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.200-10.0.1.255}", "r:8: pool 10.0.1.200-10.0.1.255 holds the network's own or its broadcast address; write: FIRST-LAST, addresses from 10.0.1.1 to 10.0.1.254"},
		{"pool with a device's address", "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.12-10.0.1.20}", "r:16: address 10.0.1.12 of server-10 is in the pool of the data network; write: an address outside of pool 10.0.1.12-10.0.1.20, or another pool"},
		{"pool with a BMC's address", "192.168.100.0/24}", "192.168.100.0/24, pool: 192.168.100.90-192.168.100.101}", "r:10: address 192.168.100.100 of the BMC of mgmt-1 is in the pool of the management network; write: an address outside of pool 192.168.100.90-192.168.100.101, or another pool\nr:17: address 192.168.100.101 of the BMC of server-09 is in the pool of the management network; write: an address outside of pool 192.168.100.90-192.168.100.101, or another pool"},
		{"pool too large", "10.0.1.0/24}", "10.0.0.0/8, pool: 10.1.0.1-10.2.0.1}", "r:8: pool 10.1.0.1-10.2.0.1 has 65537 addresses; write: at most 65536 addresses"},
		{"services is a list", "devices:\n", "services: []\ndevices:\n", "r:9: services is not a set of keys and values; write: keys and values: dns, ntp, syslog, domain, bandwidth"},
		{"key of services", "devices:\n", "services: {bandwidth: {server: 1Gbit/s}}\ndevices:\n", `r:9: unknown key "server" in services.bandwidth; write: one of rack, device`},
		{"bandwidth without a unit", "devices:\n", "services: {bandwidth: {rack: \"1000\"}}\ndevices:\n", `r:9: services.bandwidth.rack: "1000" is not a bandwidth; write: 10Gbit/s or 500Mbit/s, whole numbers`},
		{"bandwidth in bytes", "devices:\n", "services: {bandwidth: {device: 100MB/s}}\ndevices:\n", `r:9: services.bandwidth.device: "100MB/s" is not a bandwidth; write: 10Gbit/s or 500Mbit/s, whole numbers`},
		{"no bandwidth", "devices:\n", "services: {bandwidth: {device: 0Mbit/s}}\ndevices:\n", `r:9: services.bandwidth.device: "0Mbit/s" is not a bandwidth; write: 10Gbit/s or 500Mbit/s, whole numbers`},
		{"too much bandwidth", "devices:\n", "services: {bandwidth: {rack: 4000000000Gbit/s}}\ndevices:\n", `r:9: a bandwidth of 4000000000Gbit/s for a rack; write: from 1Mbit/s to 1000Gbit/s, or leave it out for no bound`},
		{"a device's over the rack's", "devices:\n", "services: {bandwidth: {rack: 1Gbit/s, device: 1500Mbit/s}}\ndevices:\n", `r:9: a device may take 1500Mbit/s, more than the rack's 1Gbit/s; write: at most 1Gbit/s, or a larger one for the rack`},
		{"strangers without a pool", "10.0.1.0/24}", "10.0.1.0/24, strangers: true}", "r:8: strangers are to get addresses of the data network, but it has no pool; write: pool: and a range of addresses for them, or leave strangers out"},
		{"strangers", "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.200-10.0.1.250, strangers: perhaps}", "r:8: networks.data.strangers is neither true nor false; write: true or false"},
		{"address", `"10.0.1.{11..12}"`, `"10.0.1.{11..12}x"`, `r:16: address: "10.0.1.11x" is not an address; write: an IPv4 address such as 192.168.100.2`},
		{"address outside", `"10.0.1.{11..12}"`, `"10.0.9.{11..12}"`, "r:16: address 10.0.9.11 of server-09 is outside the data network 10.0.1.0/24; write: an address from 10.0.1.1 to 10.0.1.254\nr:16: address 10.0.9.12 of server-10 is outside the data network 10.0.1.0/24; write: an address from 10.0.1.1 to 10.0.1.254"},
		{"unknown platform, once for all", "platform: sim-server", "platform: big", "r:14: unknown platform big; write: one of sim-server"},
		{"unknown role", "role: server", "role: blade", "r:13: unknown role blade; write: one of management-switch, tor-switch, inter-rack-switch, server"},
		{"BMC missing", `    bmc: {protocol: ipmi, address: "192.168.100.{101..102}", credentials: "env:RACK_BMC"}` + "\n", "", "r:12: no bmc: a server is booted from the network by its BMC; write: " + bmcShape},
		{"BMC half", `"192.168.100.{101..102}", credentials: "env:RACK_BMC"`, `"192.168.100.{101..102}"`, "r:17: bmc.credentials is missing; write: " + bmcShape},
		{"BMC protocol", `bmc: {protocol: ipmi, address: "1`, `bmc: {protocol: redfish, address: "1`, "r:17: unknown BMC protocol redfish; write: ipmi"},
		{"BMC is text", `{protocol: ipmi, address: "192.168.100.{101..102}", credentials: "env:RACK_BMC"}`, "root:hunter2", "r:17: bmc is not a set of keys and values; write: keys and values: protocol, address, credentials"},
		{"secret", `102}", credentials: "env:RACK_BMC"`, `102}", credentials: "root:hunter2"`, "r:17: bmc.credentials is not a reference: secrets do not stand in a rack file; write: " + reference},
		{"secret behind env", `102}", credentials: "env:RACK_BMC"`, `102}", credentials: "env:root:hunter2"`, "r:17: bmc.credentials is not a reference: secrets do not stand in a rack file; write: " + reference},
		{"password", `102}", credentials: "env:RACK_BMC"`, `102}", credentials: "env:RACK_BMC", Password: hunter2`, `r:17: a secret does not stand in a rack file: key "Password" in bmc; write: credentials: ` + reference},
		{"password at the top", "number: 1", "number: 1\nbmc_secret: hunter2", `r:5: a secret does not stand in a rack file: key "bmc_secret" in the rack file; write: credentials: ` + reference},
		{"secret as a key", "    protect: true", "    ? root:hunter2\n    : x", "r:20: unknown key (not repeated here) in the device; write: " + deviceKeyList},
		{"credentials are a mapping", `102}", credentials: "env:RACK_BMC"`, `102}", credentials: {user: root, pass: hunter2}`, "r:17: bmc.credentials is not text; write: one text, in quotes"},
		{"alias", `management: "mgmt-1:{1..2}"`, "management: &hunter2 mgmt-1:1", "r:18: an anchor or alias at management: rack files have none; write: the value itself"},
		{"tag", "image: esx-9", "image: !!binary aHVudGVyMg==", "r:15: image is not text; write: one text, in quotes"},
		{"version", "image: esx-9", "image: esx-9\n    version: \"1\\n2\"", `r:16: "1\n2" is not a version; write: the version as the device shows it: letters, digits and -_.+~ only, or leave version out`},
		{"image", "image: esx-9", "image: esx 9", `r:15: "esx 9" is not the name of an image; write: the name of an image: letters, digits and -_./:@ only, or leave image out`},
		{"two cables", `"mgmt-1:{1..2}"`, `"mgmt-1:{48..49}"`, "r:18: two cables on port mgmt-1:48: the agent's cable and the management end of server-09; write: a port that nothing else is cabled to"},
		{"cable to nobody", `"tor-2:{1..2}"`, `"tor-9:{1..2}"`, "r:19: data end 2 of server-09 leads to tor-9:1, but no device is named tor-9; write: SWITCH:PORT with a switch of this rack, such as mgmt-1:48\nr:19: data end 2 of server-10 leads to tor-9:2, but no device is named tor-9; write: SWITCH:PORT with a switch of this rack, such as mgmt-1:48"},
		{"data is a mapping", `["tor-1:{1..2}", "tor-2:{1..2}"]`, "{a: b}", `r:19: data is neither a port nor a list of ports; write: ["tor-1:1", "tor-2:1"]`},
		{"data holds a number", `["tor-1:{1..2}", "tor-2:{1..2}"]`, "[1, tor-1:1]", "r:19: data is not text; write: one text, in quotes\nr:19: name counts 2, but data[1] has no range; write: a range of 2 in data[1]"},
		{"range backwards", `"mgmt-1:{1..2}"`, `"mgmt-1:{2..1}"`, "r:18: management: range {2..1} runs backwards; write: {1..2}"},
		{"range of letters", `"mgmt-1:{1..2}"`, `"mgmt-1:{a..b}"`, "r:18: management: {a..b} is not a range of numbers up to 99999; write: {1..24}, or {01..24} to pad with zeros"},
		{"range open", `"mgmt-1:{1..2}"`, `"mgmt-1:{1..2"`, "r:18: management: a { without its }; write: {1..24} for a range"},
		{"range closed", `"mgmt-1:{1..2}"`, `"mgmt-1:1..2}"`, "r:18: management: a } without its {; write: {1..24} for a range"},
		{"range padded at one end", `"mgmt-1:{1..2}"`, `"mgmt-1:{01..2}"`, "r:18: management: the ends of range {01..2} are padded differently; write: as many digits at both ends, such as {01..24}"},
		{"range too long", `"mgmt-1:{1..2}"`, `"mgmt-1:{1..99999}"`, "r:18: management: range {1..99999} counts more than 1000; write: a shorter range"},
		{"two ranges out of step", `"mgmt-1:{1..2}"`, `"mgmt-{1..3}:{1..2}"`, "r:18: management: its ranges count 3 and 2; write: ranges of one length: they run in step"},
		{"ranges out of step", `"mgmt-1:{1..2}"`, `"mgmt-1:{1..3}"`, "r:18: name counts 2, but management counts 3; write: a range of 2 in both: they run in step"},
		{"no range in the name", `"server-{09..10}"`, "server-09", "r:16: address counts 2, but name has no range; write: a range of 2 in name too, or no range\n" +
			"r:17: bmc.address counts 2, but name has no range; write: a range of 2 in name too, or no range\nr:18: management counts 2, but name has no range; write: a range of 2 in name too, or no range\n" +
			"r:19: data[0] counts 2, but name has no range; write: a range of 2 in name too, or no range\nr:19: data[1] counts 2, but name has no range; write: a range of 2 in name too, or no range"},
		{"range in the name only", `"10.0.1.{11..12}"`, "10.0.1.11", "r:16: name counts 2, but address has no range; write: a range of 2 in address"},
		{"too many devices", `"server-{09..10}"`, `"server-{001..998}"`, "r:12: the rack has more than 1000 devices; write: a rack file for each rack\n" + outOfStep(998)},
		{"devices", "devices:\n", "devices: none\nx-devices:\n", "r:9: devices is not a list; write: a list: each device begins with a hyphen\n" + `r:10: unknown key "x-devices" in the rack file; write: one of apiVersion, kind, name, number, agent, networks, services, dhcp, vlans, devices, links, inventory`},
		{"link to itself", `b: "tor-2:53"`, `b: "tor-1:53"`, "r:22: port tor-1:53 is cabled to itself; write: the port at the other end of the cable"},
		{"link without end", `, b: "tor-2:53"`, "", `r:22: b is missing; write: b: "inter-rack-1:1"`},
		{"link's range", `"tor-{1..2}:54"`, `"tor-{1..2:54"`, "r:23: a: a { without its }; write: {1..24} for a range"},
		{"kind of link", "kind: peer", "kind: lag", "r:22: unknown kind of link lag; write: trunk or peer, or leave kind out"},
		{"escapes", "name: r1", `name: "r\e[2J` + strings.Repeat("x", 80) + `"`, `r:3: "r\x1b[2J` + strings.Repeat("x", 59) + `"… is not a name for a rack; write: 1 to 63 lower-case letters, digits and hyphens, no hyphen first or last`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(whole, tt.old) {
				t.Fatalf("the good file has no %q", tt.old)
			}
			_, err := Parse("r", []byte(strings.Replace(whole, tt.old, tt.new, 1)), opened(""), table())
			if err == nil {
				t.Fatal("accepted")
			}
			var all Problems
			if !errors.As(err, &all) {
				t.Fatalf("the error is a %T", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a message repeats a secret: %s", err)
			}
			if err.Error() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", err, tt.want)
			}
		})
	}
}

// outOfStep is what is said when only the servers' name counts n.
func outOfStep(n int) string {
	var out []string
	for i, field := range []string{"address", "bmc.address", "management", "data[0]", "data[1]"} {
		out = append(out, fmt.Sprintf("r:%d: name counts %d, but %s counts 2; write: a range of %d in both: they run in step", 16+min(i, 3), n, field, n))
	}
	return strings.Join(out, "\n")
}

// TestEveryProblemAtOnce: problems of the text, of the rack and of the inventory
// come together, in the order of the files.
func TestEveryProblemAtOnce(t *testing.T) {
	s := strings.NewReplacer("number: 1", "number: 1\npassword: hunter2", "sim-server", "sim-x", `"tor-2:53"`, `"tor-1:53"`, "protect: true", "protect: 1").Replace(whole)
	_, err := Parse("dir/r.yaml", []byte(s+"inventory: i.csv\n"), opened("slot,mac,serial\nserver-09,02:00:00:00:00:01,\nserver-10,02:00:00:00:00:01,\nserver-11,,S\nserver-10,hello,\n"), table())
	const want = `dir/r.yaml:5: a secret does not stand in a rack file: key "password" in the rack file; write: credentials: "env:NAME", "file:/PATH", or "age:/PATH" of a file that is encrypted with age, which holds user:password
dir/r.yaml:15: unknown platform sim-x; write: one of sim-server
dir/r.yaml:21: protect is neither true nor false; write: true or false
dir/r.yaml:23: port tor-1:53 is cabled to itself; write: the port at the other end of the cable
dir/i.csv:3: MAC 02:00:00:00:00:01 is given twice: to server-09 and to server-10; write: the MAC that stands on the device
dir/i.csv:4: the rack file has no device named "server-11"; write: the name of a device of the rack file, or leave the row out
dir/i.csv:5: "hello" is not the MAC of a device; write: a MAC such as 02:00:5e:10:00:01`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestAliasBombs: a small file that stands for an endless one is refused at once.
func TestAliasBombs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for _, s := range []string{bomb, "devices: " + strings.Repeat("[", 20000), "devices: &d [*d]\n", "devices: [&d {name: *d}]", "? &k [*k]\n: x\n", "<<: *x\n"} {
		if _, err := Parse("r", []byte(whole+s), opened(""), table()); err == nil {
			t.Errorf("accepted %.40q", s)
		}
	}
	if _, err := Parse("r", []byte(whole+strings.Repeat("#", MaxFileSize)), opened(""), table()); err == nil || err.Error() != "r: the file is larger than 1048576 bytes; write: one rack only, with index ranges" {
		t.Error(err)
	}
}

// TestManyProblems: the message is bounded, the list is whole.
func TestManyProblems(t *testing.T) {
	_, err := Parse("r", []byte(whole+strings.Repeat("x: y\n", 3000)), opened(""), table())
	var all Problems
	if !errors.As(err, &all) || len(all) != 3000 {
		t.Fatalf("%d problems", len(all))
	}
	if s := err.Error(); strings.Count(s, "\n") != strictyaml.MaxPrinted || !strings.HasSuffix(s, "\nr: 1000 problems more; write: what is said above first") {
		t.Errorf("%d lines, the last is %q", strings.Count(s, "\n"), s[strings.LastIndex(s, "\n"):])
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.yaml")
	write := func(name, s string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("r.yaml", whole+"inventory: r.csv\n")
	says := func(path, want string) {
		t.Helper()
		if _, err := Read(path, table()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	says(file, `r.yaml:24: inventory "r.csv" cannot be read: no such file or directory; write: the name of a file in the rack file's folder, or leave inventory out`)
	says(filepath.Join(dir, "none"), "none: cannot be read: no such file or directory; write: the path of a rack file, such as examples/rack-1.yaml")
	says(dir, "cannot be read: it is not a regular file")
	write("r.csv", goodInventory)
	if _, err := Read(file, table()); err != nil {
		t.Error(err)
	}
	write("out.yaml", whole+"inventory: ../r.csv\n")
	says(filepath.Join(dir, "out.yaml"), `out.yaml:24: inventory "../r.csv" is not beside the rack file`)
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/rack-*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	devices, platforms := map[string]string{}, table()
	for name, role := range map[string]rack.Role{"sim-leaf": rack.ToRSwitch, "esxi": rack.Server, "debian-preseed": rack.Server, "anaconda-kickstart": rack.Server,
		"ubuntu-autoinstall": rack.Server, "linux-server": rack.Server} {
		platforms[name] = rack.Platform{Name: name, Roles: []rack.Role{role}, Steps: []rack.Step{{Action: rack.VerifyDevice, SSH: &rack.Exchange{}}}}
	}
	for _, f := range files {
		r, err := Read(f, platforms)
		if err != nil {
			t.Error(err)
			continue
		}
		count := map[rack.Role]int{}
		macs := 0
		for i := range r.Devices {
			count[r.Devices[i].Role]++
			macs += len(r.Devices[i].MACs)
		}
		devices[filepath.Base(f)] = fmt.Sprint(r.Name, " ", r.Number, " ", count[rack.ManagementSwitch], count[rack.ToRSwitch], count[rack.InterRackSwitch], count[rack.Server], " ", macs)
	}
	want := map[string]string{"rack-1.yaml": "r1 1 1 2 0 6 0", "rack-2.yaml": "r2 2 1 2 2 6 18", "rack-42u.yaml": "r42 2 1 2 2 37 0", "rack-systems.yaml": "r3 3 1 1 0 5 0"}
	if !reflect.DeepEqual(devices, want) {
		t.Errorf("got %v, want %v", devices, want)
	}
}

// TestPools: what the agent gives to whom no address is written down for. It is in
// the plan's hash; a rack without pools has the hash that it always had.
func TestPools(t *testing.T) {
	with := strings.Replace(whole, "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.200 - 10.0.1.250, strangers: true}", 1)
	r, err := Parse("r", []byte(with), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Pool(rack.Data); p.String() != "10.0.1.200-10.0.1.250" || !p.Strangers || !r.Pool(rack.Management).IsZero() {
		t.Errorf("%+v", p)
	}
	hash := func(r *rack.Rack) string {
		t.Helper()
		p, err := rack.NewPlan(r, table(), func(name string) (rack.Image, error) { return rack.Image{Name: name}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash
	}
	plain, err := Parse("r", []byte(whole), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]bool{hash(plain): true, hash(r): true}
	r.DataPool.Strangers = false
	hashes[hash(r)] = true
	if len(hashes) != 3 {
		t.Errorf("pools are not in the plan's hash: %v", hashes)
	}
	if b, err := json.Marshal(plain); err != nil || strings.Contains(string(b), "Pool") {
		t.Errorf("a rack without pools: %s %v", b, err)
	}
}

// TestBandwidth: bounds of what images take of the network, in the plan's hash only
// where there are any.
func TestBandwidth(t *testing.T) {
	r, err := Parse("r", []byte(whole+"services: {bandwidth: {rack: 5Gbit/s, device: 500Mbit/s}}\n"), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	if want := (rack.Bandwidth{Rack: 5_000_000_000, Device: 500_000_000}); r.Services.Bandwidth != want {
		t.Errorf("%+v", r.Services)
	}
	plain, err := Parse("r", []byte(whole+"services: {}\n"), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(plain); err != nil || strings.Contains(string(b), "Services") {
		t.Errorf("a rack without bounds: %s %v", b, err)
	}
}
