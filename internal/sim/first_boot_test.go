package sim

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// FuzzFirstBoot gives systems at their first boot, and their command lines, whatever they
// may be given: they refuse it or take it in, and do not fall.
func FuzzFirstBoot(f *testing.F) {
	f.Add([]byte(`{"ztp":{"01-configdb-json":{"url":{"source":"http://h/c","destination":"/x"},"clear-config":false},"02-x":{"plugin":{"url":"http://h/p"}},"restart-ztp":true}}`))
	f.Add([]byte("#!/bin/bash\ntrap 'curl -d x http://h/report/failed; exit 1' ERR\necho 'a' >/mnt/flash/boot-config\nmv -f /mnt/flash/boot-config /x\nexit 0\n"))
	f.Add([]byte("hostname tor-1\ninterface Management1\n   ip address 192.168.100.2/24\nend\n"))
	f.Add([]byte("configure session rackreach\ninterface Ethernet1\nswitchport\nexit\nalias rackreach-receipt x\ncommit timer 00:05:00\n"))
	f.Add([]byte(`{"VLAN_MEMBER":{"Vlan1|Ethernet0":{}},"MGMT_INTERFACE":{"eth0|10.0.0.1/24":{}},"DEVICE_METADATA":{"localhost":{"hostname":"x"}}}`))
	f.Add([]byte("nv set system hostname tor-1\nnv set interface swp1 bridge domain br_default\n"))
	f.Add([]byte("    bridge-ports swp1 swp2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := &host{dev: &device{spec: &rack.Device{Name: "tor-1"}}}
		if names, sections, err := ztpSections(data); err == nil && len(names) != len(sections) {
			t.Fatalf("%d names of %d sections", len(names), len(sections))
		}
		if name, address, err := startupConfig(data); err == nil && (name == "" || !address.IsValid()) {
			t.Fatal("a startup-config without a name or an address")
		}
		if err := h.loadConfigDB(data, false); err != nil && (h.readDisk().first != provisioned{}) {
			t.Fatal("a part of a config_db was loaded")
		}
		for _, ports := range [][]string{readSession(string(data)).ports, must(members(data)), must(bridged(data, []string{"swp1"}))} {
			if b, err := (&shell{system: &system{host: &host{dev: &device{sim: &Sim{rack: &rack.Rack{Name: "r1"}}, spec: h.dev.spec}}}}).configOf(ports); err == nil && !json.Valid(b) {
				t.Fatalf("%q", b)
			}
		}
		if name, _, err := nvueSets(data, []string{"swp1"}); err == nil && name == "" {
			t.Fatal("NVUE was told nothing")
		}
		if strings.Contains(string(data), "curl") {
			return // nobody is there to fetch from
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nor to report to
		if files, err := h.runScript(ctx, nil, data, nil); err == nil && (!strings.HasPrefix(string(data), "#!/") || len(files) > maxFiles) {
			t.Fatalf("%d files of a script", len(files))
		}
	})
}

func must(ports []string, err error) []string {
	if err != nil {
		return nil
	}
	return ports
}

// What a system is to refuse, it refuses.
func TestFirstBootRefuses(t *testing.T) {
	h := &host{dev: &device{spec: &rack.Device{Name: "tor-1"}}}
	for _, script := range []string{"", "echo 'x' >/y\n", "#!/bin/sh\nmv -f /a /b\n", "#!/bin/sh\nexit 3\n", "#!/bin/sh\ncurl -d x\n",
		"#!/bin/sh\necho '" + strings.Repeat("0", 64) + "  /a' | sha256sum -c -\n", "#!/bin/sh\n" + strings.Repeat("\n", 2000)} {
		if _, err := h.runScript(t.Context(), nil, []byte(script), nil); err == nil {
			t.Errorf("%.40q was run to its end", script)
		}
	}
	if err := h.loadConfigDB([]byte(`{"DEVICE_METADATA":{}}`), true); err == nil {
		t.Error("all of config_db is replaced by one without ports")
	}
	if err := h.flashed(map[string]scriptFile{"/mnt/flash/boot-config": {head: []byte("SWI=flash:/nothing.swi\n")}}); err == nil {
		t.Error("boot-config names an image that is not there")
	}
	if _, _, err := ztpSections([]byte(`{"ztp":{}}`)); err == nil {
		t.Error("a ztp.json without sections")
	}
}
