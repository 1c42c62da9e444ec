package rackagent

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/actors"
	dhcprelay "github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/internal/adjacency"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/ssh"
)

// asking is an executor that asks one switch over SSH, and what it logged.
func asking(t *testing.T, answer func(command string) (string, bool), neighbours, macs *rack.Ask) (*executor, *bytes.Buffer) {
	t.Helper()
	c := &console{password: "secret", answer: answer}
	client, err := ssh.New(ssh.Options{Dial: c.dial(t), Keys: unpinned{hostKeys("")}})
	if err != nil {
		t.Fatal(err)
	}
	p := func(s string) rack.Port {
		x, err := rack.ParsePort(s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	r := &rack.Rack{Name: "r4", Agent: rack.Agent{Cable: p("mgmt-1:48")}, Devices: []rack.Device{
		{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "acme"},
		{Name: "tor-1", Role: rack.ToRSwitch, Platform: "acme", Address: netip.MustParseAddr("192.168.104.2"), Management: p("mgmt-1:45"), Data: []rack.Port{p("mgmt-1:43")}, Access: &rack.Access{Credentials: "env:X"}},
		{Name: "server-01", Role: rack.Server, Management: p("mgmt-1:1"), Data: []rack.Port{p("tor-1:1")}, MACs: []string{"02:00:00:00:00:01"}},
	}, Links: []rack.Link{{A: p("tor-1:49"), B: rack.Port{Device: "rack:r9/tor-1", Name: "7"}}}}
	platforms := map[string]rack.Platform{"acme": {Neighbours: neighbours, MACs: macs}}
	var logged bytes.Buffer
	x := &executor{rack: r, ports: dhcprelay.NewPorts(r), logger: slog.New(slog.NewTextHandler(&logged, nil)), tickets: map[string]string{},
		shell: &shell{rack: r, platforms: platforms, asking: client, credentials: func(string) (string, string, error) { return "admin", "secret", nil }}}
	x.remember(actors.Offer{Binder: rack.NewBinder(r, platforms)})
	return x, &logged
}

// What a switch answers is told in the words of the rack file, as far as that knows.
func TestPortsOverSSH(t *testing.T) {
	const lldp = `{"lldp": {"interface": [
	 {"swp1": {"chassis": {"server-77": {"id": {"type": "mac", "value": "02:00:00:00:00:01"}}}, "port": {"id": {"type": "mac", "value": "02:00:00:00:00:01"}, "descr": "eth0"}}},
	 {"swp2": {"chassis": {"server-01": {"id": {"type": "mac", "value": "02:00:00:00:00:09"}}}, "port": {"id": {"type": "ifname", "value": "eth0"}}}},
	 {"swp3": {"chassis": {"r4/server-01": {"id": {"type": "mac", "value": "02:00:00:00:00:08"}}}, "port": {"id": {"type": "ifname", "value": "a, r4/tor-1:1"}}}},
	 {"swp49": {"chassis": {"tor-1.example.net": {"id": {"type": "mac", "value": "02:00:00:00:00:07"}}}, "port": {"id": {"type": "ifname", "value": "swp7"}}}},
	 {"eth0": {"chassis": {"MGMT-1": {"id": {"type": "mac", "value": "02:00:00:00:00:06"}}}, "port": {"id": {"type": "ifname", "value": "swp45"}}}}]}}`
	const fdb = `[{"mac":"02:00:00:00:00:01","ifname":"swp1","flags":[],"master":"br0","state":""}]`
	x, logged := asking(t, func(command string) (string, bool) {
		return map[string]string{"lldpctl -f json": lldp, "bridge -j fdb show": fdb}[command], true
	}, &rack.Ask{Run: "lldpctl -f json", Format: string(adjacency.LLDPCtl)}, &rack.Ask{Run: "bridge -j fdb show", Format: string(adjacency.Bridge)})
	got, err := x.Neighbours(t.Context(), "tor-1")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range got {
		lines = append(lines, o.Via.String()+" "+o.Message)
	}
	want := []string{"tor-1:1 r4/server-01:eth0", "tor-1:49 r9/tor-1:7", "tor-1:eth0 r4/mgmt-1:45", "tor-1:swp2 server-01:eth0", "tor-1:swp3 r4_server-01:a__r4/tor-1_1"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	rows, err := x.MACTable(t.Context(), "tor-1")
	if err != nil || len(rows) != 1 || rows[0].MAC != "02:00:00:00:00:01" || rows[0].Via.String() != "tor-1:1" || rows[0].Source != rack.FromMACTable {
		t.Errorf("%+v %v", rows, err)
	}
	if logged.Len() > 0 {
		t.Error(logged.String())
	}
}

// A switch that answers nonsense without end is asked again and again, and told of once,
// in one line that moves no cursor.
func TestHostilePorts(t *testing.T) {
	for name, answer := range map[string]string{
		"escapes":         "\x1b[2J\x1b]0;mine\x07{",
		"a megabyte line": strings.Repeat("x\x1b[31m", 300_000),
		"names":           `{"lldp": {"interface": {"\u001b[2Jswp1": {"chassis": {"\u202e\u001b[31mtor-1": {"id": {"type": "local", "value": "` + strings.Repeat("y", 500_000) + `"}}}, "port": {"id": {"type": "ifname", "value": "\u0007"}}}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			x, logged := asking(t, func(string) (string, bool) { return answer, true }, &rack.Ask{Run: "show lldp", Format: string(adjacency.LLDPCtl)}, nil)
			for range 3 {
				got, err := x.Neighbours(t.Context(), "tor-1")
				for _, o := range got {
					if len(o.Message) > 300 || len(o.Via.Name) > 64 || strings.ContainsAny(o.Message+o.Via.Name, "\x1b\x07\u202e\n") {
						t.Errorf("%q %q", o.Via, o.Message)
					}
				}
				if err != nil && (len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x1b\x07\n")) {
					t.Errorf("%d bytes: %.200q", len(err.Error()), err)
				}
			}
			if said := logged.String(); strings.Count(said, "\n") > 1 || len(said) > 1000 || strings.ContainsAny(said, "\x1b\x07") || strings.Contains(said, "secret") {
				t.Errorf("%d bytes: %.300q", len(said), said)
			}
		})
	}
}

// A switch that makes up another error for each question fills neither the log nor memory.
func TestPortsWithEverNewErrors(t *testing.T) {
	n := 0
	x, logged := asking(t, func(string) (string, bool) { n++; return fmt.Sprintf(`{"lldp%d": {}} %c`, n, 'a'+n), true }, &rack.Ask{Run: "show lldp", Format: string(adjacency.LLDPCtl)}, nil)
	for range 20 {
		if _, err := x.Neighbours(t.Context(), "tor-1"); err == nil {
			t.Fatal("nonsense was understood")
		}
	}
	if got := strings.Count(logged.String(), "\n"); got < 1 || got > maxTold {
		t.Errorf("%d lines were logged", got)
	}
}

// A switch whose platform does not say how it is asked is not asked.
func TestPortsThatNobodyAsksFor(t *testing.T) {
	x, _ := asking(t, nil, nil, nil)
	x.shell.platforms = map[string]rack.Platform{"acme": {Steps: []rack.Step{{Action: rack.VerifyDevice, SSH: &rack.Exchange{}}}}}
	if got, err := x.Neighbours(t.Context(), "tor-1"); got != nil || err != nil {
		t.Error(got, err)
	}
	if got, err := x.MACTable(t.Context(), "tor-1"); got != nil || err != nil {
		t.Error(got, err)
	}
}
