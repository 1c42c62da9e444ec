//go:build system

package sim

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Programs that nobody here wrote find a BMC in ours: ipmitool, and FreeIPMI's.

func program(t *testing.T, name, debian string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("this test needs %s: apt-get install %s", name, debian)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestPeerIPMITool(t *testing.T) {
	for _, suite := range []string{"17", "3"} {
		t.Run("suite "+suite, func(t *testing.T) {
			a := newAgent(t, testRack())
			port := strconv.Itoa(int(a.sim.devices[0].bmc.real().Port()))
			tool := func(args ...string) string {
				t.Helper()
				return program(t, "ipmitool", "ipmitool", append([]string{"-I", "lanplus", "-C", suite, "-H", "127.0.0.1", "-p", port, "-U", testUser, "-P", testPassword}, args...)...)
			}
			for _, x := range []struct{ args, says string }{
				{"chassis power status", "Chassis Power is off"},
				{"mc guid", "System GUID"},
				{"mc info", "IPMI Version              : 2.0"},
				{"raw 0 8 3 8", ""},
				{"chassis bootdev pxe options=efiboot", "Set Boot Device to pxe"},
				{"chassis bootparam get 5", "BIOS EFI boot"},
				{"chassis bootparam get 5", "Force PXE"},
				{"chassis identify force", "Chassis identify interval: indefinite"},
				{"chassis power on", "Chassis Power Control: Up/On"},
				{"chassis power status", "Chassis Power is on"},
				{"chassis power soft", "Chassis Power Control: Soft"},
				{"chassis power status", "Chassis Power is off"},
			} {
				if got := tool(strings.Fields(x.args)...); !strings.Contains(got, x.says) {
					t.Errorf("%s: got %q, want %q in it", x.args, got, x.says)
				}
			}
			if l := a.rec.waitFor(t, "mgmt-1", kindBMCBootDevice, 1); l.Detail["command"] != "pxe" {
				t.Errorf("boot device %+v", l)
			}
		})
	}
}

func TestPeerFreeIPMI(t *testing.T) {
	a := newAgent(t, testRack())
	at := "127.0.0.1:" + strconv.Itoa(int(a.sim.devices[0].bmc.real().Port()))
	for _, suite := range []string{"17", "3"} {
		for _, x := range []struct{ action, says string }{
			{"--stat", "127.0.0.1: off"}, {"--on", "127.0.0.1: ok"}, {"--stat", "127.0.0.1: on"}, {"--soft", "127.0.0.1: ok"}, {"--stat", "127.0.0.1: off"},
		} {
			got := program(t, "ipmipower", "freeipmi-tools", "-D", "LAN_2_0", "-I", suite, "-h", at, "-u", testUser, "-p", testPassword, "-l", "ADMIN", x.action)
			if !strings.Contains(got, x.says) {
				t.Errorf("suite %s, %s: got %q, want %q", suite, x.action, got, x.says)
			}
		}
	}
}
