package rackfile

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// withAccess is a rack file whose platform logs in over SSH.
const withAccess = `apiVersion: rackreach/v1
kind: Rack
name: r1
number: 1
agent: {cable: "mgmt-1:48"}
networks: {management: {cidr: 192.168.100.0/24}, data: {cidr: 10.0.1.0/24}}
devices:
  - name: mgmt-1
    role: management-switch
    platform: acme
    address: 192.168.100.1
    bmc: {protocol: ipmi, address: 192.168.100.100, credentials: "file:/etc/rackreach/bmc"}
    access: {credentials: "age:/etc/rackreach/mgmt.age", key: "file:/etc/rackreach/switches.key", port: 2222}
`

func TestAccess(t *testing.T) {
	platforms := map[string]rack.Platform{
		"acme":  {Name: "acme", Roles: []rack.Role{rack.ManagementSwitch}, Steps: []rack.Step{{SSH: &rack.Exchange{}}}},
		"quiet": {Name: "quiet", Roles: []rack.Role{rack.ManagementSwitch}},
	}
	none := func(string) ([]byte, error) { t.Fatal("it names no file"); return nil, nil }
	r, err := Parse("r.yaml", []byte(withAccess), none, platforms)
	if err != nil {
		t.Fatal(err)
	}
	want := rack.Access{Credentials: "age:/etc/rackreach/mgmt.age", Key: "file:/etc/rackreach/switches.key", Port: 2222}
	if d, _ := r.Device("mgmt-1"); d.Access == nil || *d.Access != want {
		t.Errorf("%+v", d.Access)
	}
	for _, tt := range []struct{ old, new, says string }{
		{`port: 2222`, `port: 0`, `r.yaml:13: access.port is not the number of a port`},
		{`port: 2222`, `port: ssh`, `r.yaml:13: port is not a whole number`},
		{`"age:/etc/rackreach/mgmt.age"`, `"admin:hunter2"`, "r.yaml:13: access.credentials is not a reference"},
		{`"age:/etc/rackreach/mgmt.age"`, `"age:mgmt.age"`, "r.yaml:13: access.credentials is not a reference"},
		{`"file:/etc/rackreach/switches.key"`, `"file:/etc/../etc/x"`, "r.yaml:13: access.key is not a reference"},
		{`credentials: "age:/etc/rackreach/mgmt.age", `, ``, "r.yaml:13: access.credentials is missing"},
		{"    access: {", "    install: {", "r.yaml:13: unknown key"},
		{"platform: acme", "platform: quiet", "r.yaml:13: platform quiet does not log in to the device"},
	} {
		text := strings.Replace(withAccess, tt.old, tt.new, 1)
		if _, err := Parse("r.yaml", []byte(text), none, platforms); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", tt.new, err)
		}
	}
	without, _, _ := strings.Cut(withAccess, "    access:")
	if _, err := Parse("r.yaml", []byte(without), none, platforms); err == nil || !strings.Contains(err.Error(), "no access: platform acme configures the device over SSH") {
		t.Errorf("without access: %v", err)
	}
}
