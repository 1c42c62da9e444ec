package rackfile

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
)

// wholeFleet is a fleet file without a problem.
const wholeFleet = `apiVersion: rackreach/v1
kind: Fleet
name: pod-1
atOnce: 1
haltAfter: 2
defaults:
  platforms: {management-switch: sim-mgmt, tor-switch: sim-tor, inter-rack-switch: sim-spine, server: sim-server}
  images: {server: esx-9}
  bmc: {protocol: ipmi, credentials: "env:ALL"}
racks:
  - file: a/one.yaml
  - file: two.yaml
    defaults: {bmc: {credentials: "env:TWO"}, images: {tor-switch: nos-2}}
`

// sparse is a rack file that leaves out what a fleet's defaults fill in. Its links
// stand on line 11.
const sparse = `apiVersion: rackreach/v1
kind: Rack
name: r2
number: 2
agent: {cable: "mgmt-1:48"}
networks: {management: {cidr: 192.168.102.0/24}, data: {cidr: 10.0.2.0/24}}
devices:
  - {name: mgmt-1, role: management-switch, address: 192.168.102.1, bmc: {address: 192.168.102.100}}
  - {name: tor-1, role: tor-switch, address: 192.168.102.2, management: "mgmt-1:45", data: "mgmt-1:43"}
  - {name: inter-rack-1, role: inter-rack-switch, address: 192.168.102.4, management: "mgmt-1:49"}
links: [{a: "inter-rack-1:7", b: "rack:r1/tor-1:49"}]
`

// folder opens files by their paths.
type folder map[string]string

func (f folder) open(path string) ([]byte, error) {
	s, ok := f[filepath.ToSlash(path)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(s), nil
}

func TestFleet(t *testing.T) {
	files := folder{"d/a/one.yaml": whole + "inventory: i.csv\n", "d/a/i.csv": goodInventory, "d/two.yaml": sparse}
	f, err := ParseFleet("d/f.yaml", []byte(wholeFleet), files.open, table())
	if err != nil {
		t.Fatal(err)
	}
	if f.Spec.Name != "pod-1" || f.Spec.AtOnce != 1 || f.Spec.HaltAfter != 2 || !slices.Equal(f.Spec.Racks, []string{"r1", "r2"}) || !slices.Equal(f.Files, []string{"d/a/one.yaml", "d/two.yaml"}) {
		t.Errorf("%+v %v", f.Spec, f.Files)
	}
	alone, err := Parse("one.yaml", []byte(whole), files.open, table())
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range f.Racks[0].Devices { // a rack file has the last word
		if want := alone.Devices[i]; d.Platform != want.Platform || d.Image != want.Image || d.BMC != nil && *d.BMC != *want.BMC {
			t.Errorf("%+v, want %+v", d, want)
		}
	}
	got := map[string]string{}
	for _, d := range f.Racks[1].Devices {
		got[d.Name] = d.Platform + " " + d.Image
		if d.BMC != nil {
			got[d.Name] += " " + d.BMC.Protocol + " " + d.BMC.Credentials
		}
	}
	if want := map[string]string{"mgmt-1": "sim-mgmt  ipmi env:TWO", "tor-1": "sim-tor nos-2", "inter-rack-1": "sim-spine "}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if l := fleet.Links(f.Racks); len(l) != 1 || l[0].B.String() != "r1/tor-1:49" {
		t.Errorf("%+v", l)
	}
}

// TestFleetProblems holds every message about a fleet, word by word.
func TestFleetProblems(t *testing.T) {
	swap := func(old, with string) func(folder) {
		return func(f folder) {
			for path, s := range f {
				f[path] = strings.Replace(s, old, with, 1)
			}
		}
	}
	in := func(path, old, with string) func(folder) {
		return func(f folder) { f[path] = strings.Replace(f[path], old, with, 1) }
	}
	const shape = "keys and values: apiVersion, kind, name, atOnce, haltAfter, defaults, racks"
	for _, tt := range []struct {
		name   string
		change func(folder)
		want   string
	}{
		{"good", func(folder) {}, ""},
		{"a list", func(f folder) { f["f.yaml"] = "- kind: Fleet\n" }, "f.yaml:1: the fleet file is not a set of keys and values; write: " + shape},
		{"unknown keys", in("f.yaml", "atOnce", "atOnec"), `f.yaml:4: unknown key "atOnec" in the fleet file; write: one of apiVersion, kind, name, atOnce, haltAfter, defaults, racks`},
		{"what is missing", func(f folder) { f["f.yaml"] = "kind: Fleet\n" }, `f.yaml:1: apiVersion is missing; write: apiVersion: rackreach/v1
f.yaml:1: name is missing; write: name: and the fleet's name, such as pod-1
f.yaml:1: racks is missing; write: racks: and a list of rack files, each as file: rack-1.yaml`},
		{"a name", in("f.yaml", "pod-1", "Pod 1"), `f.yaml:3: "Pod 1" is not a name for a fleet; write: 1 to 63 lower-case letters, digits and hyphens, no hyphen first or last`},
		{"numbers", in("f.yaml", "atOnce: 1\nhaltAfter: 2", "atOnce: -1\nhaltAfter: many"), `f.yaml:4: -1 is not a number of racks; write: how many racks are imaged at once, or leave it out for all
f.yaml:5: haltAfter is not a whole number; write: a number such as 2`},
		{"no racks", func(f folder) { f["f.yaml"] = wholeFleet[:strings.Index(wholeFleet, "racks:")] + "racks: []\n" }, "f.yaml:10: the fleet has no racks; write: a list with one rack file or more"},
		{"racks that are no list", in("f.yaml", "racks:\n  - file: a/one.yaml\n  - file: two.yaml\n    defaults: {bmc: {credentials: \"env:TWO\"}, images: {tor-switch: nos-2}}", "racks: one.yaml"), "f.yaml:10: racks is not a list; write: a list: each rack begins with a hyphen"},
		{"paths", in("f.yaml", "a/one.yaml\n  - file: two.yaml", "../one.yaml\n  - file: no.yaml\n  - {}\n  - file: two.yaml\n  - file: ./two.yaml"), `f.yaml:11: rack file "../one.yaml" is not beside the fleet file; write: the name of a rack file in the fleet file's folder or below it
f.yaml:12: rack file "no.yaml" cannot be read: file does not exist; write: the name of a rack file in the fleet file's folder or below it
f.yaml:13: file is missing; write: file: and the path of a rack file, such as rack-1.yaml
f.yaml:15: rack file "./two.yaml" is named twice; write: each rack file once`},
		{"a default that is none", in("f.yaml", "server: sim-server", "server: sim-tor"), `f.yaml:7: platform sim-tor is not for a server; write: one of sim-server`},
		{"a role that is none", in("f.yaml", "server: esx-9", "servers: esx-9"), `f.yaml:8: unknown key "servers" in defaults.images; write: one of management-switch, tor-switch, inter-rack-switch, server`},
		{"a secret", in("f.yaml", `"env:ALL"`, "admin:hunter2"), `f.yaml:9: credentials are not a reference: secrets do not stand in a rack file; write: "env:NAME", with the name of an environment variable that holds user:password`},
		{"a secret of one rack", in("f.yaml", `"env:TWO"`, "admin:hunter2"), `f.yaml:13: credentials are not a reference: secrets do not stand in a rack file; write: "env:NAME", with the name of an environment variable that holds user:password`},
		{"a password", in("f.yaml", `credentials: "env:ALL"`, "password: hunter2"), `f.yaml:9: a secret does not stand in a rack file: key "password" in defaults.bmc; write: credentials: "env:NAME", with the name of an environment variable that holds user:password`},
		{"an anchor", in("f.yaml", "defaults:\n", "defaults: &d\n"), "f.yaml:6: an anchor or alias at defaults: rack files have none; write: the value itself"},
		{"no default", in("f.yaml", "tor-switch: sim-tor, ", ""), `two.yaml:9: platform is missing; write: platform: and how such a device is imaged`},
		{"problems of every rack", swap("number:", "numbr:"), `a/one.yaml:1: number is missing; write: number: and the rack's number, such as 1
a/one.yaml:4: unknown key "numbr" in the rack file; write: one of apiVersion, kind, name, number, agent, networks, devices, links, inventory
two.yaml:1: number is missing; write: number: and the rack's number, such as 1
two.yaml:4: unknown key "numbr" in the rack file; write: one of apiVersion, kind, name, number, agent, networks, devices, links, inventory
two.yaml:10: inter-rack switches stand in rack 2 only, this is rack 0; write: number: 2 at the top, or leave the inter-rack switches out`},
		{"a fleet of fleets", func(f folder) { f["two.yaml"] = wholeFleet }, "two.yaml:2: a fleet file in a fleet; write: the racks of it in the fleet file that names it"},
		{"no YAML", func(f folder) { f["two.yaml"] = "a: [" }, "two.yaml:2: not YAML: did not find expected node content; write: YAML; look for a missing quote, bracket or space before this line"},
		{"between racks", in("two.yaml", "tor-1:49", "tor-1:53"), `two.yaml:11: two cables on port r1/tor-1:53: the link to tor-2:53 and the link from r2/inter-rack-1:7 to r1/tor-1:53; write: a port that nothing else is cabled to, in both rack files`},
		{"one address", func(f folder) {
			f["two.yaml"] = strings.ReplaceAll(f["two.yaml"], "192.168.102", "192.168.100")
		}, `two.yaml:8: address 192.168.100.1 is given twice in joined racks: to r1/mgmt-1 and to r2/mgmt-1; write: an address that nothing has in the racks joined with this one
two.yaml:8: address 192.168.100.100 is given twice in joined racks: to the BMC of r1/mgmt-1 and to the BMC of r2/mgmt-1; write: an address that nothing has in the racks joined with this one
two.yaml:9: address 192.168.100.2 is given twice in joined racks: to r1/tor-1 and to r2/tor-1; write: an address that nothing has in the racks joined with this one`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := folder{"f.yaml": wholeFleet, "a/one.yaml": whole, "two.yaml": sparse}
			tt.change(files)
			_, err := ParseFleet("f.yaml", []byte(files["f.yaml"]), files.open, table())
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestReadAny(t *testing.T) {
	r, f, err := ReadAny("../../examples/fleet.yaml", table())
	if err != nil || r != nil || f == nil {
		t.Fatalf("%v %v %v", r, f, err)
	}
	if l := fleet.Links(f.Racks); len(l) != 4 {
		t.Errorf("the racks of the example are joined by %+v", l)
	}
	if r, f, err = ReadAny("../../examples/rack-1.yaml", table()); err != nil || r == nil || f != nil {
		t.Errorf("%v %v %v", r, f, err)
	}
	if _, _, err = ReadAny("nowhere.yaml", table()); err == nil || err.Error() != "nowhere.yaml: cannot be read: no such file or directory; write: the path of a rack file or a fleet file, such as examples/rack-1.yaml" {
		t.Error(err)
	}
	if _, err := Read("../../examples/fleet.yaml", table()); err == nil || !strings.Contains(err.Error(), "this is a fleet file, and one rack is asked for; write: the path of one of its rack files") {
		t.Error(err)
	}
}

// FuzzFleetFile: whatever the bytes of a fleet file and of its second rack,
// ParseFleet ends with racks that validate, also together, or with problems.
func FuzzFleetFile(f *testing.F) {
	for _, s := range []string{"", "kind: Fleet", "kind: Fleet\nracks: [{file: two.yaml}]", "kind: Fleet\ndefaults: {bmc: x}", wholeFleet, strings.Replace(wholeFleet, "two.yaml", "../..", 1), strings.Replace(wholeFleet, "name: pod-1", "name: \"\\e\"", 1)} {
		f.Add([]byte(s), []byte(sparse))
	}
	f.Add([]byte(wholeFleet), []byte(whole))
	f.Add([]byte(wholeFleet), []byte(wholeFleet))
	f.Add([]byte(wholeFleet), []byte(strings.Replace(sparse, "inter-rack-1:7", "", 1)))
	f.Fuzz(func(t *testing.T, data, second []byte) {
		files := folder{"a/one.yaml": whole, "two.yaml": string(second), "i.csv": goodInventory}
		got, err := ParseFleet("f.yaml", data, files.open, table())
		if err != nil {
			var all Problems
			if !errors.As(err, &all) {
				t.Fatal(err)
			}
			holdsProblems(t, err)
			return
		}
		var members []fleet.Member
		for i, r := range got.Racks {
			if p := rack.Validate(r, table()); len(p) > 0 || got.Spec.Racks[i] != r.Name {
				t.Fatalf("accepted, but %+v", p)
			}
			members = append(members, fleet.Member{Rack: r})
		}
		if p := fleet.Validate(got.Spec, members); len(p) > 0 || len(got.Racks) != len(got.Files) {
			t.Fatalf("accepted, but %+v", p)
		}
	})
}
