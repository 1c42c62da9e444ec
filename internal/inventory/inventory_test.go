package inventory

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

func testRack() *rack.Rack {
	return &rack.Rack{Name: "r1", Devices: []rack.Device{
		{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "p", Address: netip.MustParseAddr("192.168.100.1")},
		{Name: "server-01", Role: rack.Server, Platform: "p", Address: netip.MustParseAddr("10.0.1.11"), BMC: &rack.BMC{Address: netip.MustParseAddr("192.168.100.101"), Credentials: "env:X"}},
	}}
}

func journal(events ...rack.Event) []rack.Event {
	out := append([]rack.Event{{Kind: rack.RackStarted, Detail: rack.Detail{Run: "run-1", PlanHash: "h"}}}, events...)
	for i := range out {
		out[i].Rack, out[i].Seq, out[i].Time = "r1", uint64(i+1), time.Date(2026, 3, 1, 12, 0, i, 0, time.UTC)
	}
	return out
}

func of(device string, k rack.Kind, d rack.Detail) rack.Event {
	return rack.Event{Device: device, Kind: k, Detail: d}
}

func story() []rack.Event {
	const s = "server-01"
	return []rack.Event{
		of(s, rack.Observed, rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Stage: rack.StageBMC, MAC: "52:54:00:00:00:aa", UUID: "feed"}}),
		of(s, rack.HardwareFound, rack.Detail{Found: Found{BMC: &BMC{Address: "192.168.100.101", GUID: "abcd", Vendor: "Dell", Manufacturer: 674, Product: 256, Firmware: "2.15"}}.Encode()}),
		of(s, rack.RecoveryMade, rack.Detail{Recovery: rack.PowerCut}),
		of(s, rack.Observed, rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Stage: rack.StagePXE, MAC: "52:54:00:00:00:01", UUID: "abcd", Proves: rack.DHCPPXE, Address: "10.0.1.11"}}),
		of(s, rack.TicketIssued, rack.Detail{Ticket: "r1/server-01/1", Image: "debian", Digest: "sha256:00"}),
		of(s, rack.HardwareFound, rack.Detail{Found: Found{Machine: &job.Hardware{Serial: "SN1", Vendor: "V", Model: "=cmd|' /C calc'!A0", UUID: "u-u", Firmware: job.UEFI, CPU: "C", Threads: 8, Memory: 64 << 30,
			Disks: []job.Disk{{Path: "/dev/sda", Size: 480 << 30, Serial: "D1"}}, NICs: []job.NIC{{Name: "eth0", MAC: "52:54:00:00:00:01"}, {Name: "eth1", MAC: "52:54:00:00:00:02"}}, Problems: []string{"no module for x"}}}.Encode()}),
		of(s, rack.DeviceFinding, rack.Detail{Reason: "nothing was heard through tor-2:1"}),
		of(s, rack.DeviceReady, rack.Detail{Image: "debian", Digest: "sha256:00"}),
	}
}

func TestOf(t *testing.T) {
	x := Of(testRack(), nil, journal(story()...))
	if x.Rack != "r1" || x.Run != "run-1" || x.State != "imaging" || x.Seq != 9 || len(x.Devices) != 2 {
		t.Errorf("%+v", x)
	}
	d := x.Devices[1]
	if d.State != "ready" || d.Serial != "SN1" || d.UUID != "u-u" || d.Threads != 8 || d.Memory != 64<<30 || len(d.Disks) != 1 || d.Image != "debian" || d.Recovered["power-cut"] != 1 ||
		!slices.Equal(d.MACs, []string{"52:54:00:00:00:01", "52:54:00:00:00:02"}) || !slices.Equal(d.Addresses, []string{"10.0.1.11"}) ||
		!slices.Equal(d.Findings, []string{"its installer: no module for x", "nothing was heard through tor-2:1"}) || !slices.Equal(d.Receipts, []string{"receipt:run-1/r1/server-01/1"}) {
		t.Errorf("%+v", d)
	}
	if b := d.BMC; b == nil || b.MAC != "52:54:00:00:00:aa" || b.GUID != "abcd" || b.Vendor != "Dell" || b.Firmware != "2.15" {
		t.Errorf("%+v", b)
	}
	if b := x.Devices[0].BMC; b != nil {
		t.Errorf("a switch without BMC has %+v", b)
	}
}

// Nothing of the hardware that was taken out is left.
func TestReplaced(t *testing.T) {
	x := Of(testRack(), nil, journal(append(story(), of("server-01", rack.DeviceReplaced, rack.Detail{}))...))
	if d := x.Devices[1]; d.Serial != "" || len(d.MACs)+len(d.Disks)+len(d.Receipts)+len(d.Findings) > 0 || d.BMC.GUID != "" || d.Image != "" || d.State != "waiting" {
		t.Errorf("%+v", d)
	}
}

func TestWritten(t *testing.T) {
	x := Of(testRack(), nil, journal(story()...))
	var b bytes.Buffer
	if err := x.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	cell := func(name string) string { return rows[2][slices.Index(columns, name)] }
	for name, want := range map[string]string{"device": "server-01", "model": "'=cmd|' /C calc'!A0", "memory_bytes": "68719476736", "macs": "52:54:00:00:00:01; 52:54:00:00:00:02", "bmc_firmware": "2.15", "recoveries": "power-cut 1"} {
		if got := cell(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	b.Reset()
	if err := x.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Document
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Devices[1].NICs[1].MAC != "52:54:00:00:00:02" {
		t.Errorf("%v, %+v", err, back)
	}
	b.Reset()
	if err := x.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"server-01  ready    10.0.1.11      52:54:00:00:00:01  SN1     Dell 2.15", "8        64 GiB  1, 480 GiB", "finding  server-01: nothing was heard through tor-2:1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
}

// A journal may hold anything that a stranger said.
func FuzzOf(f *testing.F) {
	f.Add(Found{Machine: &job.Hardware{Threads: 1}}.Encode(), "52:54:00:00:00:01", "\x1b[2J")
	f.Add(`{"bmc":{"vendor":"\u001b[2J"}}`, "", "x")
	f.Add(`{"machine":{"memory":-1}}`, "a", "b")
	f.Fuzz(func(t *testing.T, found, mac, serial string) {
		x := Of(testRack(), nil, journal(of("server-01", rack.HardwareFound, rack.Detail{Found: found}),
			of("server-01", rack.Observed, rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, MAC: mac, Serial: serial}})))
		for _, write := range []func(Document, *bytes.Buffer) error{
			func(x Document, b *bytes.Buffer) error { return x.WriteCSV(b) }, func(x Document, b *bytes.Buffer) error { return x.WriteTable(b) },
		} {
			var b bytes.Buffer
			if err := write(x, &b); err != nil {
				t.Fatal(err)
			}
			if serial != "\x1b[2J" && mac != "\x1b" && !strings.ContainsRune(mac+serial, 0x1b) && bytes.ContainsRune(b.Bytes(), 0x1b) {
				t.Errorf("what hardware says reached the output raw: %q", b.String())
			}
		}
		var b bytes.Buffer
		if err := x.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) {
			t.Fatalf("%v %s", err, b.String())
		}
	})
}
