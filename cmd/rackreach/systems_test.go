package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// systemSteps are the steps of servers with systems of their makers, by the fault that
// lets each fail for good. Not among them: the ticket, a decision of rackreach itself;
// and network-boot, whose retry asks a host that is on what it holds, for longer than a
// step lasts at this speed: it is that of sim-server, and broken there.
var systemSteps = []struct {
	fault  string
	steps  []string // whichever of them the platform has
	before string   // the fault that leads to a step that only a retry comes to
}{
	{"discovery:login-refused", []string{"bmc-login"}, ""},
	{"discovery:error", []string{"boot-device"}, ""},
	{"discovery:bmc-idle", []string{"power-on"}, ""},
	{"installation:bmc-dead", []string{"boot-device-again"}, "installation:no-boot-file"},
	{"installation:bmc-idle", []string{"power-cycle-again"}, "installation:no-boot-file"},
	{"installation:no-boot-file", []string{"boot-loader"}, ""},
	{"installation:hang", []string{"image-transfer"}, ""},
	{"installation:error", []string{"write"}, ""},
	{"installation:no-dhcp", []string{"first-boot", "ssh"}, ""},
	{"configuration:error", []string{"push"}, ""},
	{"configuration:lie", []string{"verify"}, ""},
}

// systemServers are the servers of rack-systems.yaml, one of each platform.
var systemServers = map[string]string{"esxi-1": "esxi", "debian-1": "debian-preseed", "rocky-1": "anaconda-kickstart", "ubuntu-1": "ubuntu-autoinstall", "linux-1": "linux-server"}

// TestSystemSteps holds that every step of those platforms is broken below, or the same
// as one that TestShippedPlatforms (agents/rack) breaks.
func TestSystemSteps(t *testing.T) {
	var named []string
	for _, s := range systemSteps {
		named = append(named, s.steps...)
	}
	simulated, _ := platform.Default().Definition(platform.SimServer)
	for _, name := range systemServers {
		d, ok := platform.Default().Definition(name)
		if !ok {
			t.Fatalf("there is no platform %s", name)
		}
		for _, s := range d.Steps {
			same := slices.ContainsFunc(simulated.Steps, func(x rack.Step) bool { return s.Name == "network-boot" && reflect.DeepEqual(x, s) })
			if s.Action != rack.IssueTicket && !slices.Contains(named, s.Name) && !same {
				t.Errorf("platform %s: no fault breaks step %s: give it one in systemSteps", name, s.Name)
			}
		}
	}
}

// Servers with the systems of their makers are imaged over real sockets, in order; and each
// step of each of them fails for good. In a run each server but one has another step that
// fails: it is isolated with that step named, and all others become ready. What ESXi cannot
// say of its failures is told by the time that a step has.
func TestServersWithSystemsOfTheirMakers(t *testing.T) {
	const file, devices = "rack-systems.yaml", 7
	var turns sync.WaitGroup // most of a run is waiting: all of them at once, and nothing beside them
	defer turns.Wait()
	// Where a transfer is to stop in the middle it must not fit the buffers of a connection.
	text, err := os.ReadFile(example(file))
	if err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(large, []byte(strings.NewReplacer("sim-linux/initrd.gz", "sim-linux/initrd-large.gz", "sim-hypervisor-small", "sim-nos-mgmt").Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	image := func(name, rackFile string, want map[string]string, faults []string) {
		turns.Go(func() {
			t.Run(name, func(t *testing.T) {
				args := []string{"--rack", rackFile}
				for _, f := range faults {
					args = append(args, "--fault", f)
				}
				p := play(t, args...)
				p.ends(t, map[bool]int{true: 0, false: 3}[len(want) == 0])
				if n := len(p.find("device-ready", "")); n != devices-len(want) {
					t.Errorf("%d devices are ready, want %d", n, devices-len(want))
				}
				for device, step := range want {
					failed := p.find("device-failed", device)
					if len(failed) != 1 || !strings.Contains(failed[0].Detail.Error, "failed at step "+step+": ") {
						t.Errorf("%s: %+v, want step %s", device, failed, step)
					}
				}
				p.inOrder(t, file)
			})
		})
	}
	image("well", example(file), nil, nil)
	image("bad images", example(file), map[string]string{"esxi-1": "image-transfer", "ubuntu-1": "write"}, []string{"esxi-1:installation:corrupt-image", "ubuntu-1:installation:corrupt-image"})
	servers, broken := slices.Sorted(maps.Keys(systemServers)), map[string]int{} // how many steps of each
	left := func(server string) bool { return broken[server] < len(systemSteps) }
	for run := 0; slices.ContainsFunc(servers, left); run++ {
		var faults []string
		want := map[string]string{}
		for i, server := range servers {
			if i == run%len(servers) || !left(server) {
				continue // this one is well
			}
			d, _ := platform.Default().Definition(systemServers[server])
			s := systemSteps[broken[server]]
			broken[server]++
			faults = append(faults, server+":"+s.fault)
			if s.before != "" {
				faults = append(faults, server+":"+s.before)
			}
			for _, step := range d.Steps {
				if slices.Contains(s.steps, step.Name) {
					want[server] = step.Name
				}
			}
			if want[server] == "" {
				t.Errorf("platform %s has none of the steps %q", d.Name, s.steps)
			}
		}
		image(fmt.Sprintf("broken-%d", run+1), large, want, faults)
	}
}
