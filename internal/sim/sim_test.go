package sim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRackIsImagedInOrder(t *testing.T) {
	a := newAgent(t, testRack())
	a.imageSwitches()
	a.evidence("inform:nos tor-1", 1) // its uplink
	a.evidence("dhcp:bmc server-01", 1)
	a.installPXE("server-01")
	a.evidence("dhcp:os server-01", 1)
	a.evidence("inform:os server-01", 1) // its second NIC
	a.configure("server-01")
	code, text, err := a.api("server-01", http.MethodGet, "receipt", nil, patience)
	var r receipt
	if err := errors.Join(err, json.Unmarshal([]byte(text), &r)); err != nil || code != 200 {
		t.Fatal(code, text, err)
	}
	want := receipt{"r1", "server-01", "run-1", "t-server-01", "test-image", "sha256:" + hexSum(a.data), "sha256:" + hexSum(a.config("server-01")), receiptInstalled}
	if r != want {
		t.Errorf("receipt %+v, want %+v", r, want)
	}
	_, text, err = a.api("tor-1", http.MethodGet, "receipt", nil, patience)
	if err := errors.Join(err, json.Unmarshal([]byte(text), &r)); err != nil {
		t.Fatal(err)
	}
	want = receipt{"r1", "tor-1", "run-1", "t-tor-1", "test-nos", "sha256:" + hexSum(a.onie), "sha256:" + hexSum(a.config("tor-1")), receiptInstalled}
	if r != want {
		t.Errorf("receipt %+v, want %+v", r, want)
	}
	order := []int64{a.rec.seq(t, "mgmt-1", kindBMCCommand), a.rec.seq(t, "mgmt-1", kindBMCBootDevice), a.rec.seq(t, "mgmt-1", kindBMCPower),
		a.rec.seq(t, "mgmt-1", kindImageByte), a.rec.seq(t, "mgmt-1", kindInstallCompleted), a.rec.seq(t, "mgmt-1", kindForwardingStarted),
		a.rec.seq(t, "tor-1", kindPacket), a.rec.seq(t, "tor-1", kindImageByte), a.rec.seq(t, "tor-1", kindForwardingStarted),
		a.rec.seq(t, "server-01", kindBMCPower), a.rec.seq(t, "server-01", kindImageByte), a.rec.seq(t, "server-01", kindConfigApplied), a.rec.seq(t, "server-01", kindReceiptRead)}
	for i := 1; i < len(order); i++ {
		if order[i] <= order[i-1] {
			t.Errorf("out of order: %v", order)
		}
	}
	if l := a.rec.waitFor(t, "server-01", kindImageByte, 1); strings.Join(l.Via, " ") != "mgmt-1 tor-1" {
		t.Errorf("the image of server-01 came via %v", l.Via)
	}
	if l := a.rec.waitFor(t, "server-01", kindBMCPower, 1); strings.Join(l.Via, " ") != "mgmt-1" {
		t.Errorf("the BMC of server-01 was reached via %v", l.Via)
	}
}

func TestMACTable(t *testing.T) {
	a := newAgent(t, testRack())
	a.imageSwitches()
	a.evidence("inform:nos tor-1", 1)
	a.evidence("dhcp:bmc server-01", 1)
	_, text, err := a.api("mgmt-1", http.MethodGet, "mac-table", nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Port, MAC string }
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range rows {
		got[r.Port] = r.MAC
	}
	d := a.sim.devices
	want := map[string]string{"45": d[1].nics[0].mac.String(), "43": d[1].ups[0].mac.String(), "1": d[2].bmcEnd.mac.String()}
	for p, m := range want {
		if got[p] != m {
			t.Errorf("port %s: %q, want %q", p, got[p], m)
		}
	}
}

func TestClosedPathIsSilence(t *testing.T) {
	a := newAgent(t, testRack())
	a.rec.wait(t, "drop of the server's BMC", 1, func(l line) bool { return l.Device == "server-01" && l.Kind == kindDropped })
	if code, _, err := a.api("tor-1", http.MethodGet, "receipt", nil, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a closed path answered: %d %v", code, err)
	}
	if a.answers("server-01") {
		t.Error("a BMC behind a dark switch answered")
	}
	if a.rec.has("server-01", kindPacket) || a.rec.has("tor-1", kindPacket) || a.rec.has("server-01", kindBMCCommand) {
		t.Errorf("something got through: %v", a.rec.all())
	}
	if err := a.sim.Close(); err != nil {
		t.Fatal(err)
	}
	all := a.rec.all()
	last := all[len(all)-1]
	if last.Kind != kindDroppedTotal || digits(last.Detail["count"]) < 3 {
		t.Errorf("last line %+v", last)
	}
}

func TestRebootingSwitchResetsConnections(t *testing.T) {
	a := newAgent(t, testRack())
	a.imageSwitches()
	c, err := a.sim.Dial(t.Context(), "tcp", "192.168.100.2:80")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.bmc("mgmt-1", func(ctx context.Context, c *client.Client) error {
		_, err := c.ChassisControl(ctx, chassis.ChassisControlPowerCycle)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, errReset) {
		t.Errorf("read %d %v, want a reset", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	stopped := a.rec.waitFor(t, "mgmt-1", kindForwardingStopped, 1)
	again := a.rec.waitFor(t, "mgmt-1", kindForwardingStarted, 2) // it kept its configuration
	if again.Seq < stopped.Seq {
		t.Error("forwarding started before it stopped")
	}
	a.evidence("dhcp:nos mgmt-1", 2)
	if code, _, err := a.api("tor-1", http.MethodGet, "receipt", nil, patience); err != nil || code != 200 {
		t.Errorf("tor-1 after the reboot: %d %v", code, err)
	}
}

func TestUnticketedFirmwareKeepsAsking(t *testing.T) {
	a := newAgent(t, testRack())
	if err := a.bootPXE("mgmt-1"); err != nil {
		t.Fatal(err)
	}
	a.evidence("dhcp:pxe mgmt-1", 3)
	if a.rec.has("mgmt-1", kindImageByte) {
		t.Error("an image without a ticket")
	}
	a.ticket("mgmt-1", true)
	a.evidence("reported:installed mgmt-1", 1)
}

func TestCloseBeforeStart(t *testing.T) {
	s, err := New(Options{Rack: testRack(), Platforms: testPlatforms()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.Dial(t.Context(), "tcp", "192.168.100.1:80"); err == nil {
		t.Error("dialled into a closed rack")
	}
	s.Start(t.Context())
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no rack given":        {},
		"write a number above": {Rack: testRack(), Platforms: testPlatforms(), Speed: -1},
		"not in the table":     {Rack: testRack()},
		"has no device":        {Rack: testRack(), Platforms: testPlatforms(), Faults: []Fault{{Device: "x", Phase: "discovery", Kind: FaultHang}}},
	} {
		if s, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
}
