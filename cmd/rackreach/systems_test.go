package main

import (
	"strings"
	"testing"
)

// Servers with the systems of their makers are imaged over real sockets, in order; one that
// fails is isolated with the step named, and all others become ready. What ESXi cannot say
// of its failures is told by the time that a step has.
func TestServersWithSystemsOfTheirMakers(t *testing.T) {
	const file, devices = "rack-systems.yaml", 7
	for name, faults := range map[string]map[string]string{ // the step that fails, by the fault
		"well": {},
		"bad disks and images": {
			"esxi-1:installation:error":           "write: no report of the installer",
			"debian-1:installation:error":         "write: the device reported: ",
			"rocky-1:configuration:error":         "push: ",
			"ubuntu-1:installation:corrupt-image": "write: the device reported: the image's digest is",
			"linux-1:installation:error":          "write: the device reported: ",
		},
		"bad networks and configurations": {
			"esxi-1:installation:corrupt-image": "image-transfer: no complete transfer of its image",
			"debian-1:configuration:error":      "push: ",
			"rocky-1:installation:error":        "write: the device reported: ",
			"ubuntu-1:configuration:error":      "push: ",
			"linux-1:configuration:error":       "push: ",
		},
		"ESXi alone": {"esxi-1:configuration:error": "push: esxi-1: SSH to 10.0.3.11:22, asked to run \"esxcli system hostname set"},
		"ESXi hangs": {"esxi-1:installation:hang": "image-transfer: no complete transfer of its image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"--rack", example(file)}
			for f := range faults {
				args = append(args, "--fault", f)
			}
			p := play(t, args...)
			p.ends(t, map[bool]int{true: 0, false: 3}[len(faults) == 0])
			if n := len(p.find("device-ready", "")); n != devices-len(faults) {
				t.Errorf("%d devices are ready, want %d", n, devices-len(faults))
			}
			for f, want := range faults {
				device, _, _ := strings.Cut(f, ":")
				failed := p.find("device-failed", device)
				if len(failed) != 1 || !strings.Contains(failed[0].Detail.Error, "failed at step "+want) {
					t.Errorf("%s: %+v, want step %s", f, failed, want)
				}
			}
			p.inOrder(t, file)
		})
	}
}
