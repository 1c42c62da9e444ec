package sim

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseFault(t *testing.T) {
	for _, good := range []string{"tor-1:installation:error", "server-02:installation:error:2", "mgmt-1:discovery:bmc-dead", "a:configuration:panic", "x:discovery:no-dhcp:1000", "x:installation:no-boot-file", "x:installation:bmc-idle"} {
		f, err := ParseFault(good)
		if err != nil || f.String() != good {
			t.Errorf("%s: %v %v", good, f, err)
		}
	}
	for bad, want := range map[string]string{
		"":                              "write DEVICE:PHASE:KIND",
		"tor-1:installation":            "write DEVICE:PHASE:KIND",
		"a:b:c:d:e":                     "write DEVICE:PHASE:KIND",
		":installation:error":           "names no device",
		"tor-1:boot:error":              "write one of discovery, installation, configuration",
		"tor-1:installation:fire":       "write one of error, hang",
		"tor-1:discovery:corrupt-image": "write tor-1:installation:corrupt-image",
		"tor-1:configuration:no-dhcp":   "write tor-1:discovery:no-dhcp",
		"x:discovery:no-boot-file":      "write x:installation:no-boot-file",
		"x:configuration:bmc-idle":      "write x:discovery:bmc-idle",
		"tor-1:installation:error:0":    "write a number from 1",
		"tor-1:installation:error:x":    "write a number from 1",
		"tor-1:installation:error:9999": "write a number from 1",
	} {
		if f, err := ParseFault(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, error %v; want %q", bad, f, err, want)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("tor-1:installation:error:2")
	f.Add("::::")
	f.Fuzz(func(t *testing.T, s string) {
		x, err := ParseFault(s)
		if err != nil {
			return
		}
		if again, err := ParseFault(x.String()); err != nil || again != x {
			t.Errorf("%q → %v → %v %v", s, x, again, err)
		}
	})
}

func TestCheckFaults(t *testing.T) {
	err := CheckFaults([]Fault{
		{"tor-9", "installation", FaultError, 0},
		{"tor-1", "discovery", FaultBMCDead, 0},
		{"tor-1", "configuration", FaultNoDHCP, 0},
		{"tor-1", "configuration", FaultPanic, 0},
		{"mgmt-1", "discovery", FaultBMCDead, 0},
	}, testRack())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`no device "tor-9": write one of mgmt-1, tor-1, server-01`, "tor-1 has no BMC", "no DHCP is needed during configuration"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if n := len(strings.Split(err.Error(), "\n")); n != 3 {
		t.Errorf("%d problems, want 3: %v", n, err)
	}
}

func TestFaultDiscoveryErrorONIE(t *testing.T) {
	a := newAgent(t, testRack(), "tor-1:discovery:error:2")
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	a.evidence("dhcp:declined tor-1", 2)
	a.evidence("dhcp:onie tor-1", 1)
	a.rec.waitFor(t, "tor-1", kindFault, 2)
}

func TestFaultDiscoveryErrorBMC(t *testing.T) {
	a := newAgent(t, testRack(), "mgmt-1:discovery:error:1")
	if err := a.bootPXE("mgmt-1"); err == nil || !strings.Contains(strings.ToLower(err.Error()), "busy") {
		t.Errorf("a faulty BMC: %v, want node busy", err)
	}
	if l := a.rec.waitFor(t, "mgmt-1", kindBMCBootDevice, 1); l.Detail["result"] != "refused" {
		t.Errorf("recorded %+v", l)
	}
	a.installPXE("mgmt-1")
}

func TestFaultInstallationPXE(t *testing.T) {
	for fault, reason := range map[string]string{
		"mgmt-1:installation:error:1":         "injected",
		"mgmt-1:installation:corrupt-image:1": "digest",
	} {
		t.Run(fault, func(t *testing.T) {
			a := newAgent(t, testRack(), fault)
			a.ticket("mgmt-1", true)
			if err := a.bootPXE("mgmt-1"); err != nil {
				t.Fatal(err)
			}
			got := a.seen.wait(t, "failure", 1, func(s string) bool { return strings.HasPrefix(s, "reported:failed mgmt-1") })
			if !strings.Contains(got, reason) {
				t.Errorf("%s, want %s in it", got, reason)
			}
			a.rec.waitFor(t, "mgmt-1", kindInstallFailed, 1)
			if a.rec.has("mgmt-1", kindInstallCompleted) {
				t.Error("completed")
			}
			a.installPXE("mgmt-1") // the next attempt: a new ticket, boot device, power cycle
		})
	}
}

func TestFaultInstallationONIE(t *testing.T) {
	for _, kind := range []string{"error", "corrupt-image"} {
		t.Run(kind, func(t *testing.T) {
			a := newAgent(t, testRack(), "tor-1:installation:"+kind+":1")
			a.imageSwitches()
			if n := a.rec.waitFor(t, "tor-1", kindImageByte, 2).Seq; n < a.rec.seq(t, "tor-1", kindInstallFailed) {
				t.Error("the second attempt came before the first failed")
			}
		})
	}
}

func TestFaultHang(t *testing.T) {
	t.Run("installation", func(t *testing.T) {
		a := newAgent(t, testRack(), "mgmt-1:installation:hang:1")
		a.ticket("mgmt-1", true)
		if err := a.bootPXE("mgmt-1"); err != nil {
			t.Fatal(err)
		}
		a.rec.waitFor(t, "mgmt-1", kindImageByte, 1)
		if a.rec.has("mgmt-1", kindImageCompleted) {
			t.Error("the image arrived whole")
		}
		a.installPXE("mgmt-1")
		if l := a.rec.waitFor(t, "mgmt-1", kindInstallFailed, 1); l.Detail["reason"] != "power was lost" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("configuration", func(t *testing.T) {
		a := newAgent(t, testRack(), "mgmt-1:configuration:hang:1")
		a.installPXE("mgmt-1")
		a.evidence("dhcp:nos mgmt-1", 1)
		for !a.rec.has("mgmt-1", kindFault) { // until the device has taken the request
			if code, _, err := a.api("mgmt-1", http.MethodPut, "config", a.config("mgmt-1"), 300*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%d %v", code, err)
			}
		}
		a.configure("mgmt-1")
	})
	t.Run("POST", func(t *testing.T) {
		a := newAgent(t, testRack(), "mgmt-1:discovery:hang:1")
		a.ticket("mgmt-1", true)
		if err := a.bootPXE("mgmt-1"); err != nil {
			t.Fatal(err)
		}
		a.rec.waitFor(t, "mgmt-1", kindFault, 1)
		a.installPXE("mgmt-1")
		if l := a.rec.waitFor(t, "mgmt-1", kindBooted, 1); l.Seq < a.rec.waitFor(t, "mgmt-1", kindBMCPower, 2).Seq {
			t.Errorf("it left POST: %+v", l)
		}
	})
	t.Run("ONIE", func(t *testing.T) {
		a := newAgent(t, testRack(), "tor-1:discovery:hang:1")
		a.imageSwitches()
		if a.rec.seq(t, "tor-1", kindFault) > a.rec.seq(t, "tor-1", kindImageByte) {
			t.Error("no hang before the image")
		}
	})
}

func TestFaultNoDHCP(t *testing.T) {
	t.Run("ONIE", func(t *testing.T) {
		a := newAgent(t, testRack(), "tor-1:discovery:no-dhcp")
		a.installPXE("mgmt-1")
		a.evidence("dhcp:nos mgmt-1", 1)
		a.configure("mgmt-1")
		a.evidence("dhcp:bmc server-01", 3)
		if a.rec.has("tor-1", kindPacket) {
			t.Error("tor-1 sent something")
		}
	})
	t.Run("server's BMC", func(t *testing.T) {
		a := newAgent(t, testRack(), "server-01:discovery:no-dhcp")
		a.imageSwitches()
		if a.answers("server-01") {
			t.Error("a BMC without an address answered")
		}
		if a.rec.has("server-01", kindPacket) {
			t.Error("server-01 sent something")
		}
	})
	t.Run("after installation", func(t *testing.T) {
		a := newAgent(t, testRack(), "mgmt-1:installation:no-dhcp")
		a.installPXE("mgmt-1")
		a.rec.wait(t, "NOS", 1, func(l line) bool { return l.Kind == kindBooted && l.Detail["what"] == "nos" })
		a.rec.waitFor(t, "mgmt-1", kindFault, 1)
		if _, _, err := a.api("mgmt-1", http.MethodGet, "receipt", nil, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a switch without an address answered: %v", err)
		}
	})
}

func TestFaultBMCDead(t *testing.T) {
	a := newAgent(t, testRack(), "mgmt-1:discovery:bmc-dead")
	if a.answers("mgmt-1") {
		t.Error("a dead BMC answered")
	}
	if a.rec.has("mgmt-1", kindBMCCommand) {
		t.Error("a dead BMC took a command")
	}
	a.rec.wait(t, "drop", 1, func(l line) bool { return l.Kind == kindDropped && l.Detail["reason"] == "bmc-dead" })
}

func TestFaultBMCDeadLater(t *testing.T) {
	a := newAgent(t, testRack(), "mgmt-1:configuration:bmc-dead")
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	if a.answers("mgmt-1") {
		t.Error("a BMC that died answered")
	}
}

func TestFaultConfigurationError(t *testing.T) {
	a := newAgent(t, testRack(), "mgmt-1:configuration:error:1")
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	code, text, err := a.api("mgmt-1", http.MethodPut, "config", a.config("mgmt-1"), patience)
	if err != nil || code != http.StatusInternalServerError || !strings.Contains(text, "injected") {
		t.Errorf("%d %s %v", code, text, err)
	}
	if a.rec.has("mgmt-1", kindForwardingStarted) {
		t.Error("it forwards without a configuration")
	}
	a.configure("mgmt-1")
	for what, body := range map[string]string{"not JSON": "{", "names no rack": "{}"} {
		if code, text, err := a.api("mgmt-1", http.MethodPut, "config", []byte(body), patience); err != nil || code != http.StatusBadRequest || !strings.Contains(text, what) {
			t.Errorf("%s: %d %s %v", what, code, text, err)
		}
	}
}
