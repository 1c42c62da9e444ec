package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// acme is a platform of twenty lines, as docs/platforms.md shows one.
const acme = `apiVersion: rackreach/v1
kind: Platform
name: acme-os
like: sim-tor
description: Acme 9000 switches
match:
  stages: [onie, nos]
  machines: [acme_9000]
image: acme-os-7
steps:
  installation:
    - {name: ticket, serve: image, needs: [management-ready], limit: 1m, weight: 1}
    - {name: copy, wait: fetched:image, limit: 20m, weight: 24, destructive: true}
    - {name: burn, wait: dhcp:nos, unless: [dhcp:onie], limit: 45m, retries: 1, backoff: 10s, weight: 50, destructive: true, retryFrom: ticket}
`

// looking is a platform with every way to wait and to ask.
const looking = `apiVersion: rackreach/v1
kind: Platform
name: looking
like: sonic
description: waits for everything
steps:
  configuration:
    - {name: arp, wait: arp, limit: 1m}
    - {name: line, wait: {syslog: "system ready"}, limit: 1m}
    - {name: port, wait: {tcp: 443}, limit: 1m, retries: 1, backoff: 1s}
    - {name: license, http: {method: POST, path: "/api/{{.Device}}", template: license.json, type: application/json, status: [200, 204], expect: [licensed], login: true}, limit: 1m}
    - {name: state, http: {scheme: http, port: 8080, path: /state}, limit: 1m}
    - {name: verify, verify: {ssh: {run: [cat /etc/receipt], expect: ["{{.Receipt}}"]}}, limit: 2m}
`

func TestWaysToWaitAndToAsk(t *testing.T) {
	s, err := Load(folder(t, map[string]string{"looking.yaml": looking, "license.json": `{"device": "{{.Device}}"}`}))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := s.Definition("looking")
	var does []string
	for i := range d.Steps {
		if d.Steps[i].Phase == rack.Configuration {
			does = append(does, Does(&d.Steps[i]))
		}
	}
	want := `wait: arp, wait: syslog "system ready", wait: tcp 443, http: POST https /api/{{.Device}}, http: GET http /state, verify: ssh`
	if got := strings.Join(does, ", "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	x := d.Steps[len(d.Steps)-3].HTTP
	if x.Body != `{"device": "{{.Device}}"}` || !x.Login || x.Unchecked || fmt.Sprint(x.Status) != "[200 204]" || !d.LogsIn() || d.OnWire() == nil {
		t.Errorf("%+v", x)
	}
}

// folder is a folder with files, by their names.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOwnPlatformTakesAfterAnother(t *testing.T) {
	dir := folder(t, map[string]string{"acme.yaml": acme, "notes.txt": "no platform"})
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := s.Definition("acme-os")
	if !ok || !d.Own || d.Status != Simulated || d.File != filepath.Join(dir, "acme.yaml") {
		t.Fatalf("%+v", d)
	}
	var steps []string
	for _, x := range d.Steps {
		steps = append(steps, string(x.Phase)+"/"+x.Name)
	}
	want := "discovery/boot-installer discovery/onie installation/ticket installation/copy installation/burn configuration/push configuration/verify"
	if got := strings.Join(steps, " "); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if d.TicketEnds != rack.DHCPNOS || !d.Fits(rack.ToRSwitch) || d.Image != "acme-os-7" || d.Match.Machines[0] != "acme_9000" {
		t.Errorf("%+v", d)
	}
	if len(s.Platforms()) != len(All())+1 {
		t.Error("ours are gone")
	}
}

// A platform of the user's with the name of one of ours takes its place, and may take
// after it.
func TestOwnPlatformTakesThePlaceOfOurs(t *testing.T) {
	dir := folder(t, map[string]string{
		"sim-tor.yaml": "apiVersion: rackreach/v1\nkind: Platform\nname: sim-tor\nlike: sim-tor\nimage: other\n",
		"below.yaml":   "apiVersion: rackreach/v1\nkind: Platform\nname: below\nlike: sim-tor\n",
	})
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sim-tor", "below"} {
		if d, _ := s.Definition(name); d.Image != "other" || len(d.Steps) != len(All()[SimToR].Steps) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if All()[SimToR].Image == "other" {
		t.Error("ours was changed")
	}
}

// A management switch that a configuration may cut off for good is refused; so is a
// platform that it is taken from by like.
func TestAManagementSwitchComesBack(t *testing.T) {
	const head = "apiVersion: rackreach/v1\nkind: Platform\nname: acme-os\nlike: linux-switch\ndescription: Acme\nsteps:\n  configuration:\n"
	const verify = `    - {name: verify, verify: {ssh: {run: [show], expect: ["{{.Receipt}}"]}}, limit: 2m}` + "\n"
	_, err := Load(folder(t, map[string]string{"acme.yaml": head + "    - {name: push, configure: {ssh: {run: [reload-everything]}}, limit: 5m}\n" + verify}))
	if err == nil || !strings.Contains(err.Error(), "acme.yaml:8: step push configures the switch that everything is reached through, with no way back") {
		t.Error(err)
	}
	if _, err := Load(folder(t, map[string]string{"acme.yaml": head + "    - {name: push, configure: {ssh: {run: [\"apply {{.RevertAfter}}\"], revertAfter: 2m, confirm: [keep]}}, limit: 5m}\n" + verify})); err != nil {
		t.Error(err)
	}
}

// The time after which a device takes its configuration back is written once.
func TestRevertAfterIsWrittenOnce(t *testing.T) {
	for _, d := range Default().Definitions() {
		for _, s := range d.Steps {
			if s.SSH == nil || s.SSH.RevertAfter == 0 {
				continue
			}
			text, err := embedded.ReadFile("files/" + d.Name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			if !revertValue.Match(text) {
				t.Errorf("platform %s: no command of step %s has {{.RevertAfter}} or {{.RevertClock}}", d.Name, s.Name)
			}
		}
	}
	const text = "apply {{.RevertAfter}} {{ .RevertClock }} {{.Receipt}}"
	if got := withRevert(text, 3723*time.Second); got != "apply 3723 01:02:03 {{.Receipt}}" {
		t.Error(got)
	}
	if got := withRevert(text, 0); got != text {
		t.Error(got)
	}
}

func TestProblemsOfFiles(t *testing.T) {
	const head = "apiVersion: rackreach/v1\nkind: Platform\nname: x\n"
	step := func(s string) string { return head + "like: sim-tor\nsteps:\n  configuration:\n    - " + s + "\n" }
	install := func(s string) string {
		return head + "like: sim-tor\nsteps:\n  installation:\n    - {name: ticket, serve: image, limit: 1m}\n    - " + s + "\n"
	}
	server := func(s string) string {
		return head + "like: sim-server\nsteps:\n  discovery:\n    - " + s + "\n    - {name: network-boot, wait: dhcp:pxe, limit: 1m}\n"
	}
	for _, tt := range []struct{ text, line, says string }{
		{"", "1", "the file is empty"},
		{"apiVersion: v2\nkind: Platform\nname: x\nlike: sim-tor\n", "1", `apiVersion is "v2"`},
		{"apiVersion: rackreach/v1\nkind: Rack\nname: x\nlike: sim-tor\n", "2", `kind is "Rack"`},
		{"apiVersion: rackreach/v1\nkind: Platform\nlike: sim-tor\n", "1", "name is missing"},
		{strings.Replace(head, "x", "X y", 1) + "like: sim-tor\n", "3", `"X y" is not the name of a platform`},
		{head + "like: nobody\n", "4", "there is no platform nobody to be like"},
		{head + "like: x\n", "4", "x is like itself"},
		{head + "like: sim-tor\nloops: 3\n", "5", `unknown key "loops"`},
		{head + "like: sim-tor\nroles: [router]\n", "5", `"router" is not a role`},
		{head + "like: sim-tor\nmatch: {stages: [bios]}\n", "5", `"bios" is not a boot stage`},
		{head + "like: sim-tor\nmatch: {machines: [\"a\\e[31m\"]}\n", "5", `"a\x1b[31m" is not the name of a machine`},
		{head + "like: sim-tor\nstatus: supported\n", "5", `"supported" is not a status`},
		{head + "like: sim-tor\nticketEnds: dhcp:coffee\n", "5", `"dhcp:coffee" is not ticketEnds`},
		{head + "like: sim-tor\ndescription: \"a\\nb\"\n", "5", "description is too long, or no plain text"},
		{head + "description: d\nroles: [server]\n", "3", "x has no steps"},
		{head + "like: sim-tor\nstatus: tested\n", "4", "step boot-installer speaks to simulated devices only, and the platform is said to be tested"},
		{step("{name: a, limit: 1m}"), "7", "step a does nothing"},
		{step("{name: a, limit: 1m, wait: dhcp:nos, power: on}"), "7", "step a does power and wait"},
		{step("{name: a, limit: 1m, power: explode}"), "7", `power has no "explode"`},
		{step("{limit: 1m, verify: simulated}"), "7", "a step has no name"},
		{step("{name: a, verify: simulated}"), "7", "step a has no limit"},
		{step("{name: a, verify: simulated, limit: 5}"), "7", `limit of step a is "5"`},
		{step("{name: a, verify: simulated, limit: 48h}"), "7", `limit of step a is "48h"`},
		{step("{name: a, verify: simulated, limit: 1m, retries: 11}"), "7", `retries of step a is "11"`},
		{step("{name: a, verify: simulated, limit: 1m, retries: 1}"), "7", "step a is retried without a pause"},
		{step("{name: a, verify: simulated, limit: 1m, uninterruptible: maybe}"), "7", `uninterruptible of step a is "maybe"`},
		{step("{name: a, configure: simulated, limit: 1m}"), "7", "only a verification makes a device ready"},
		{step("{name: a, verify: simulated, limit: 1m, retryFrom: nowhere}"), "7", "step a is retried from nowhere, which is none"},
		{step("{name: onie, verify: simulated, limit: 1m}"), "7", "two steps are called onie"},
		{step("{name: a, verify: simulated, limit: 1m, needs: [sunshine]}"), "7", `"sunshine" is not a gate`},
		{step("{name: a, verify: simulated, limit: 1m, destructive: true}"), "7", "step a acts itself"},
		{step("{name: a, serve: image, limit: 1m}"), "7", "step a serves an image out of place"},
		{install("{name: a, wait: fetched:image, limit: 1m, retries: 1, backoff: 1s}"), "8", "step a is retried without a new ticket"},
		{head + "like: sim-tor\nsteps:\n  installation:\n    - {name: a, wait: fetched:image, limit: 1m, destructive: true}\n", "7", "step a writes without a ticket"},
		{server("{name: a, power: cycle, limit: 1m, needs: [management-open, data-ready]}"), "7", "step a of a server does not wait for switches-ready"},
		{server("{name: a, boot-device: network, limit: 1m, needs: [switches-ready, management-open]}"), "7", "step a of a server does not wait for data-ready"},
		{server("{name: a, power: login, limit: 1m}"), "7", "step a of a server does not wait for management-open"},
		{server("{name: a, boot-device: installer, limit: 1m}"), "7", "boots an installer that only switches have"},
		{head + "like: sim-server\nsteps:\n  installation:\n    - {name: a, serve: image, limit: 1m, needs: [switches-ready]}\n    - {name: b, wait: reported:installed, limit: 1m}\n", "7", "step a of a server does not wait for data-open"},
		// What a reader of the code found to pass once.
		{head + "like: sim-tor\nsteps:\n  installation:\n    - {name: a, serve: image, limit: 1m}\n", "6", "x does not wait for the end of what its ticket is for"},
		{install("{name: a, wait: fetched:image, limit: 1m}"), "8", "step a waits for a device that is writing, and does not say so"},
		{install("{name: a, wait: dhcp:nos, limit: 1m}"), "8", "step a waits for a device that is writing, and does not say so"},
		{step("{name: a, verify: {}, limit: 1m}"), "7", "verify of step a says nothing"},
		{step("{name: a, configure: {}, limit: 1m}"), "7", "configure of step a says nothing"},
		{step(`{name: a, verify: {ssh: {run: ["echo {{.Receipt}}"], expect: ["{{.Receipt}}"]}}, limit: 1m}`), "7", "step a has the device repeat a receipt that it is given"},
		{step(`{name: a, verify: {ssh: {run: [x], expect: ["{{if .Syslog}}{{.Receipt}}{{end}}"]}}, limit: 1m}`), "7", "step a does not ask for the receipt"},
		{step(`{name: a, configure: {ssh: {run: [x], confirm: [y], revertAfter: 2m}}, limit: 2m}`), "7", "step a has a limit of 2m0s, and the device takes its configuration back after 2m0s"},
		{step(`{name: a, configure: {ssh: {run: ["x {{.RevertAfter}}"]}}, limit: 2m}`), "7", "names the time after which the device takes its configuration back, and there is none"},
		{step(`{name: a, configure: {ssh: {run: [x], confirm: [y], revertAfter: 40.5s}}, limit: 2m}`), "7", "step a has a revertAfter of 40.5s"},
		{step(`{name: a, configure: {ssh: {run: [x], confirm: [y]}}, limit: 2m}`), "7", "step a has one of revertAfter and confirm"},
		{step(`{name: a, configure: {ssh: {files: [{to: ../x, template: nope}], run: [x]}}, limit: 2m}`), "7", `"../x" is no path on a device`},
		{step(`{name: a, configure: {ssh: {files: [{to: /x, template: ../nope}], run: [x]}}, limit: 2m}`), "7", `"../nope" is not the name of a template`},
		{step(`{name: a, configure: {ssh: {files: [{to: /x, template: nope}], run: [x]}}, limit: 2m}`), "7", "template nope: "},
		{step(`{name: a, configure: {ssh: {run: ["{{.Password}}"]}}, limit: 2m}`), "7", "can't evaluate field Password"},
		// What is waited for on the network, and asked over HTTP.
		{step("{name: a, wait: {}, limit: 1m}"), "7", "step a waits for 0 things"},
		{step("{name: a, wait: {tcp: 22, syslog: done}, limit: 1m}"), "7", "step a waits for 2 things"},
		{step("{name: a, wait: {icmp: 1}, limit: 1m}"), "7", `unknown key "icmp"`},
		{step("{name: a, wait: {tcp: 0}, limit: 1m}"), "7", `tcp of step a is "0"`},
		{step("{name: a, wait: {tcp: 65536}, limit: 1m}"), "7", `tcp of step a is "65536"`},
		{step("{name: a, wait: {syslog: x}, limit: 1m}"), "7", `"x" is not a text of a line`},
		{step(`{name: a, wait: {syslog: "two  spaces"}, limit: 1m}`), "7", "is not a text of a line"},
		{step(`{name: a, wait: {syslog: "red \e[31m"}, limit: 1m}`), "7", "is not a text of a line"},
		{step("{name: a, wait: arp, limit: 1m}\n    - {name: v, verify: simulated, limit: 1m}"), "7", "step a waits for answer to ARP for its address, and a simulated rack stands on loopback"},
		{step("{name: a, wait: {syslog: done}, limit: 1m}\n    - {name: v, verify: simulated, limit: 1m}"), "7", `step a waits for line with "done" in its log, and a simulated rack stands on loopback`},
		{head + "like: sim-tor\nticketEnds: syslog:done\n", "5", `"syslog:done" is not ticketEnds`},
		{install("{name: a, wait: fetched:image, limit: 1m, destructive: true}\n    - {name: b, wait: {tcp: 22}, limit: 1m, retries: 1, backoff: 1s, retryFrom: ticket}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "9", "step b is tried again, with a new ticket, while the device may be writing"},
		{install("{name: a, wait: fetched:image, limit: 1m, destructive: true}\n    - {name: b, wait: {syslog: done}, limit: 1m}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "9", "step b waits for a device that may be writing, and does not say so"},
		// Of what is looked for after the ticket nobody knows whether the device, meanwhile, began to write.
		{install("{name: a, wait: {tcp: 22}, limit: 1m, retries: 1, backoff: 1s, retryFrom: ticket}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "8", "step a is tried again, with a new ticket, while the device may be writing"},
		{install("{name: a, http: {path: /}, limit: 1m, retries: 1, backoff: 1s, retryFrom: ticket}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "8", "step a is tried again, with a new ticket, while the device may be writing"},
		{install("{name: a, wait: {syslog: done}, limit: 1m}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "8", "step a waits for a device that may be writing, and does not say so"},
		{install("{name: a, http: {method: POST, path: /x}, limit: 1m}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "8", "step a changes a device that is not installed yet"},
		{step("{name: a, http: {}, limit: 1m}"), "7", "step a has no path"},
		{step("{name: a, http: {path: x}, limit: 1m}"), "7", `"x" is not a path`},
		{step(`{name: a, http: {path: "/{{.Password}}"}, limit: 1m}`), "7", "can't evaluate field Password"},
		{step("{name: a, http: {path: /, method: TRACE}, limit: 1m}"), "7", `"TRACE" is not a method`},
		{step("{name: a, http: {path: /, scheme: ftp}, limit: 1m}"), "7", `"ftp" is not a scheme`},
		{step("{name: a, http: {path: /, status: [99]}, limit: 1m}"), "7", `"99" is not a status of HTTP`},
		{step("{name: a, http: {path: /, scheme: http, login: true}, limit: 1m}"), "7", "step a would send a password for everybody on the network to read"},
		{server("{name: a, configure: {ssh: {run: [wipefs -a /dev/sda]}}, limit: 1m}"), "7", "step a changes a device that is not installed yet"},
		{install("{name: a, configure: {ssh: {run: [x]}}, limit: 1m}\n    - {name: c, wait: dhcp:nos, limit: 1m, destructive: true}"), "8", "step a changes a device that is not installed yet"},
		{step("{name: a, http: {path: /, certificate: unchecked, login: true}, limit: 1m}"), "7", "step a would send a password to whoever answers at the address"},
		{step("{name: a, http: {path: /, scheme: http, certificate: pinned}, limit: 1m}"), "7", "step a speaks without TLS"},
		{step("{name: a, http: {path: /, certificate: trusted}, limit: 1m}"), "7", `"trusted" is not what is believed of a certificate`},
		{step("{name: a, http: {path: /, method: PUT, type: text/plain}, limit: 1m}"), "7", "step a has one of type and template"},
		{step("{name: a, http: {path: /, method: PUT, type: text/plain, template: nope}, limit: 1m}"), "7", "template nope: "},
	} {
		_, err := Load(folder(t, map[string]string{"x.yaml": tt.text}))
		problems, ok := err.(strictyaml.Problems)
		if !ok {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		said := false
		for _, p := range problems {
			said = said || fmt.Sprint(p.Line) == tt.line && strings.Contains(p.What, tt.says) && p.Fix != ""
		}
		if !said {
			t.Errorf("%q\nsays %v\nwant line %s: %s", tt.text, err, tt.line, tt.says)
		}
	}
}

func TestFoldersThatCannotBeRead(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there")
	}
	twice := map[string]string{"a.yaml": acme, "b.yaml": acme}
	if _, err := Load(folder(t, twice)); err == nil || !strings.Contains(err.Error(), "holds a platform of this name, too") {
		t.Errorf("two of one name: %v", err)
	}
	round := map[string]string{}
	for a, b := range map[string]string{"a": "b", "b": "c", "c": "a"} {
		round[a+".yaml"] = "apiVersion: rackreach/v1\nkind: Platform\nname: " + a + "\nlike: " + b + "\n"
	}
	if _, err := Load(folder(t, round)); err == nil || !strings.Contains(err.Error(), "is like itself, by way of") {
		t.Errorf("a circle: %v", err)
	}
	if _, name, err := LoadFile(filepath.Join(folder(t, map[string]string{"a.yaml": acme}), "a.yaml")); err != nil || name != "acme-os" {
		t.Errorf("%q, %v", name, err)
	}
}

// FuzzFile reads any file: it is refused with a line and a remedy, or what it holds is
// sound by the words of the other test.
func FuzzFile(f *testing.F) {
	f.Add([]byte(acme))
	for _, name := range []string{"sim-mgmt", "sim-tor", "sim-spine", "sim-server"} {
		data, err := embedded.ReadFile("files/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(looking))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := build([]file{{"f.yaml", data, func(string) ([]byte, error) { return []byte("{{.Device}}"), nil }}}, Default())
		if err != nil {
			problems, ok := err.(strictyaml.Problems)
			if !ok || len(problems) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			for _, p := range problems {
				if p.Fix == "" || strings.ContainsAny(p.What+p.Fix, "\x1b\n") {
					t.Fatalf("%q", p.String())
				}
			}
			return
		}
		for _, d := range s.Definitions() {
			if d.Own {
				checkSound(t, &d.Platform)
			}
		}
	})
}
