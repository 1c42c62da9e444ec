package sim

import (
	"net/http"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	j := &job{Rack: "r1", Device: "d", Run: "run-2"}
	j.Image.Digest = "sha256:1"
	of := func(change func(*receipt)) receipt {
		r := receipt{Rack: "r1", Device: "d", Run: "run-2", Ticket: "t", Digest: "sha256:1", State: receiptInstalled}
		change(&r)
		return r
	}
	same := of(func(*receipt) {})
	for name, c := range map[string]struct {
		disk  disk
		names string
		want  verdict
	}{
		"blank":                      {disk{}, "", write},
		"blank, something is named":  {disk{}, "foreign:ext4", write},
		"this run's image":           {disk{receipt: same}, "", keep},
		"this run's image, named":    {disk{receipt: same}, "receipt:run-2/t", write},
		"this run's, another named":  {disk{receipt: same}, "receipt:run-2/u", keep},
		"this run's, another image":  {disk{receipt: of(func(r *receipt) { r.Digest = "sha256:2" })}, "", keepOut},
		"another run's":              {disk{receipt: of(func(r *receipt) { r.Run = "run-1" })}, "", keepOut},
		"another run's, named":       {disk{receipt: of(func(r *receipt) { r.Run = "run-1" })}, "receipt:run-1/t", write},
		"another run's, only begun":  {disk{receipt: of(func(r *receipt) { r.Run = "run-1" })}, "receipt:run-1", keepOut},
		"another device's":           {disk{receipt: of(func(r *receipt) { r.Device = "e" })}, "", keepOut},
		"another rack's":             {disk{receipt: of(func(r *receipt) { r.Rack = "r2" })}, "", keepOut},
		"half written by this run":   {disk{receipt: of(func(r *receipt) { r.State, r.Digest = receiptWriting, "" })}, "", write},
		"half written by another":    {disk{receipt: of(func(r *receipt) { r.State, r.Run = receiptWriting, "run-1" })}, "", keepOut},
		"half written, named":        {disk{receipt: of(func(r *receipt) { r.State, r.Run = receiptWriting, "run-1" })}, "receipt:run-1/t", write},
		"half written elsewhere":     {disk{receipt: of(func(r *receipt) { r.State, r.Device = receiptWriting, "e" })}, "", keepOut},
		"foreign data":               {disk{foreign: "ext4"}, "", keepOut},
		"foreign data, named":        {disk{foreign: "ext4"}, "foreign:ext4", write},
		"foreign data, other named":  {disk{foreign: "ext4"}, "foreign:ext", keepOut},
		"foreign data beside a mark": {disk{foreign: "ext4", receipt: same}, "", keepOut},
	} {
		j.Overwrites = c.names
		if got := c.disk.judge(j); got != c.want {
			t.Errorf("%s (holds %q): %d, want %d", name, c.disk.holds(), got, c.want)
		}
	}
}

func TestCheckHolds(t *testing.T) {
	good := map[string]string{"server-01": "ext4 volume “data”, 3 partitions", "mgmt-1": "x"}
	if err := CheckHolds(good, testRack(), testPlatforms()); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{"server-9=x": "write one of mgmt-1, tor-1, server-01", "tor-1=x": "does not look at", "server-01=": "write 1 to 100 bytes",
		"mgmt-1=a\tb": "printable", "mgmt-1= a": "double spaces", "mgmt-1=" + strings.Repeat("x", 101): "write 1 to 100 bytes", "mgmt-1=\xff": "printable"} {
		device, held, _ := strings.Cut(text, "=")
		holds := map[string]string{device: held}
		if err := CheckHolds(holds, testRack(), testPlatforms()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if s, err := New(Options{Rack: testRack(), Platforms: testPlatforms(), Holds: holds}); err == nil {
			t.Errorf("%q: New made %v", text, s)
		}
	}
}

// asks puts a device through its installer for a run that names something.
func (a *agent) asks(device, run, names, want string, n int) {
	a.t.Helper()
	a.mu.Lock()
	a.run, a.names = run, names
	a.mu.Unlock()
	a.ticket(device, true)
	if err := a.bootPXE(device); err != nil {
		a.t.Fatal(err)
	}
	a.evidence(want, n)
}

// A disk is overwritten when it is blank or given up by name, and only then.
func TestInstallerLooksAtTheDisk(t *testing.T) {
	t.Parallel()
	a := newAgentOff(t, testRack(), testSpeed, 700_001)
	a.sim.devices[0].host.disk.foreign = "ext4"
	a.wire = a.sim
	t.Cleanup(a.close)
	a.serve()
	a.sim.Connect(a.where)
	a.sim.Start(t.Context())

	a.asks("mgmt-1", "run-1", "", "reported:refused mgmt-1 the job does not name what the disk holds foreign:ext4", 1)
	a.asks("mgmt-1", "run-1", "foreign:xfs", "reported:refused mgmt-1", 2)
	if a.rec.has("mgmt-1", kindImageByte) || a.rec.has("mgmt-1", kindInstallStarted) {
		t.Error("something was written over foreign data")
	}
	a.asks("mgmt-1", "run-1", "foreign:ext4", "reported:installed mgmt-1", 1)
	a.evidence("dhcp:nos mgmt-1", 1)

	// The same run asks again: it is there already, and boots.
	a.asks("mgmt-1", "run-1", "", "reported:installed mgmt-1", 2)
	a.rec.waitFor(t, "mgmt-1", kindInstallKept, 1)
	a.evidence("dhcp:nos mgmt-1", 2)

	// A fresh state directory does not know what it would wipe.
	a.asks("mgmt-1", "run-2", "", "reported:refused mgmt-1 the job does not name what the disk holds receipt:run-1/t-mgmt-1", 1)
	if l := a.rec.waitFor(t, "mgmt-1", kindInstallRefused, 3); l.Detail["holds"] != "receipt:run-1/t-mgmt-1" {
		t.Errorf("%+v", l)
	}
	a.asks("mgmt-1", "run-2", "receipt:run-1/t-mgmt-1", "reported:installed mgmt-1", 3)
	a.evidence("dhcp:nos mgmt-1", 3)
	a.rec.waitFor(t, "mgmt-1", kindInstallCompleted, 2)
}

// A write that was cut short leaves its mark: the same run writes again, another
// one asks first.
func TestHalfWritten(t *testing.T) {
	a := newAgent(t, testRack(), "mgmt-1:installation:error:1")
	a.asks("mgmt-1", "run-1", "", "reported:failed mgmt-1", 1)
	a.asks("mgmt-1", "run-2", "", "reported:refused mgmt-1 the job does not name what the disk holds receipt:run-1/t-mgmt-1", 1)
	a.asks("mgmt-1", "run-1", "", "reported:installed mgmt-1", 1)
}

// A switch goes back into its installer when the order names what it holds.
func TestBootInstaller(t *testing.T) {
	a := newAgent(t, testRack())
	a.imageSwitches()
	order := func(device, body string, want int, says string) {
		t.Helper()
		code, text, err := a.api(device, http.MethodPost, "installer", []byte(body), patience)
		if err != nil || code != want || !strings.Contains(text, says) {
			t.Errorf("%s %s: %d %q %v, want %d %q", device, body, code, text, err, want, says)
		}
	}
	order("mgmt-1", `{"holds":"receipt:run-1/t-mgmt-1"}`, 404, "") // no ONIE switch
	order("tor-1", `{`, 400, "write {")
	order("tor-1", `{"holds":"`+strings.Repeat("x", maxOrder)+`"}`, 400, "too large")
	order("tor-1", `{}`, 409, "this switch holds receipt:run-1/t-tor-1")
	order("tor-1", `{"holds":"receipt:run-0/t-tor-1"}`, 409, "nothing was done")
	if a.rec.has("tor-1", kindForwardingStopped) {
		t.Error("it stopped forwarding without need")
	}
	order("tor-1", `{"holds":"receipt:run-1/t-tor-1"}`, 204, "")
	stopped := a.rec.waitFor(t, "tor-1", kindForwardingStopped, 1)
	onie := a.rec.wait(t, "ONIE", 2, func(l line) bool { return l.Device == "tor-1" && l.Kind == kindBooted && l.Detail["what"] == "onie" })
	if onie.Seq < stopped.Seq {
		t.Error("ONIE ran while the switch forwarded")
	}
	a.ticket("tor-1", true)
	a.evidence("dhcp:nos tor-1", 2)
	a.ticket("tor-1", false)
	// Without a configuration it knows no run.
	order("tor-1", `{"holds":"receipt:run-1/t-tor-1"}`, 409, "this switch holds receipt:/,")
	a.configure("tor-1")
	a.rec.waitFor(t, "tor-1", kindForwardingStarted, 2)
}

// The choice of the installer is for one boot: what was installed is still there.
func TestInstallerIsChosenForOneBoot(t *testing.T) {
	h := &host{disk: disk{bootable: true}}
	h.chooseInstaller()
	if !h.bootsInstaller() || h.bootsInstaller() {
		t.Error("the choice is not for one boot")
	}
	h.disk = disk{}
	if !h.bootsInstaller() {
		t.Error("nothing to boot, and no ONIE")
	}
}
