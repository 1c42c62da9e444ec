package answerfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

var update = flag.Bool("update", false, "write the golden files anew")

// secretHash is what no log, event or plan may hold.
const secretHash = "$6$saltsalt$QmHeRoXVqzT0eTSUXTvTJ2NlTq7rkCzlJ7Gj6M8s1wPbkTxw1O5zLJ2lLQ5s0L1c7dYyV3Xo7pE2Vh1r0Q9qP/"

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmDkZ5fVb6mPzFzqGk0m3Qm0n7dQe9yV5sYw2u3nq0M ops@site"

// jobs are the jobs of the golden files, by the folder that those stand in.
func jobs(t testing.TB) map[string]*Job {
	t.Helper()
	return goldenJobs(t.Fatal)
}

func goldenJobs(fatal func(...any)) map[string]*Job {
	ip := netip.MustParseAddr
	hash, err := ParseHash(secretHash)
	if err != nil {
		fatal(err)
	}
	full := rack.Services{Domain: "r1.example.net", DNS: []netip.Addr{ip("10.0.1.2"), ip("10.0.1.3")}, NTP: []netip.Addr{ip("10.0.1.4")}}
	job := func(site rack.Services, d rack.Device) *Job {
		d.Name, d.Role, d.Address = "server-01", rack.Server, ip("10.0.1.11")
		j := &Job{
			Rack:   &rack.Rack{Name: "r1", Data: netip.MustParsePrefix("10.0.1.0/24"), Services: site, Devices: []rack.Device{d}},
			Device: d.Name, Run: "RUN1", Ticket: "r1/server-01/1", Base: "http://10.0.1.9/native/0123456789abcdef0123456789abcdef",
		}
		if site.Domain != "" {
			j.Rack.DataRouter = ip("10.0.1.1")
		}
		if d.Install.PasswordHash != "" {
			j.PasswordHash = hash
		}
		return j
	}
	mac := []string{"02:00:00:00:00:0a"}
	out := map[string]*Job{
		"preseed": job(rack.Services{}, rack.Device{Install: &rack.Install{Installer: rack.Preseed, Kernel: "debian-12/linux", Keys: []string{key}}}),
		"preseed-static": job(full, rack.Device{MACs: mac, Install: &rack.Install{Installer: rack.Preseed, Kernel: "debian-12/linux", Source: "http://10.0.1.5/debian",
			Disk: rack.DiskRule{Serial: "S1"}, PasswordHash: "env:ROOT", Static: true}}),
		"kickstart": job(rack.Services{}, rack.Device{Install: &rack.Install{Installer: rack.Kickstart, Kernel: "rhel-9/vmlinuz", Source: "http://10.0.1.5/rhel-9", Keys: []string{key}}}),
		"kickstart-static": job(full, rack.Device{MACs: mac, Install: &rack.Install{Installer: rack.Kickstart, Kernel: "rhel-9/vmlinuz", Source: "http://10.0.1.5/rhel-9",
			Disk: rack.DiskRule{Path: "/dev/disk/by-id/nvme-S1"}, PasswordHash: "env:ROOT", Static: true}}),
		"autoinstall": job(rack.Services{}, rack.Device{Install: &rack.Install{Installer: rack.Autoinstall, Kernel: "ubuntu/vmlinuz", Source: "http://10.0.1.5/ubuntu.iso", Keys: []string{key}}}),
		"autoinstall-static": job(full, rack.Device{MACs: mac, Install: &rack.Install{Installer: rack.Autoinstall, Kernel: "ubuntu/vmlinuz", Source: "http://10.0.1.5/ubuntu.iso",
			Disk: rack.DiskRule{MinSize: 400e9, MaxSize: 500e9}, PasswordHash: "env:ROOT", Static: true}}),
		"esxi": job(rack.Services{}, rack.Device{Image: "esxi-8/BOOT.CFG", Install: &rack.Install{Installer: rack.ESXi, Disk: rack.DiskRule{Path: "/dev/disks/naa.5000c500a1b2c3d4"}, PasswordHash: "env:ROOT"}}),
		"esxi-static": job(full, rack.Device{MACs: mac, Image: "esxi-8/BOOT.CFG", Install: &rack.Install{Installer: rack.ESXi,
			Disk: rack.DiskRule{Path: "/dev/disks/naa.5000c500a1b2c3d4"}, PasswordHash: "env:ROOT", Keys: []string{key}, Static: true}}),
	}
	out["disk-image"] = job(rack.Services{}, rack.Device{Install: &rack.Install{Installer: rack.DiskImage, Seed: 1}})
	out["disk-image-static"] = job(full, rack.Device{MACs: mac, Install: &rack.Install{Installer: rack.DiskImage, Seed: 1, PasswordHash: "env:ROOT", Keys: []string{key}, Static: true}})
	out["preseed-static"].Overwrites = "foreign:content-0123"
	out["esxi-static"].Overwrites = "foreign:head-0123"
	for _, name := range []string{"esxi", "esxi-static"} {
		out[name].BootCfg = []byte(bootCfg)
		out[name].Folder = []string{"B.B00", "S.V00", "TOOLS.T00", "BOOT.CFG", "EFI/BOOT/BOOTX64.EFI"}
	}
	return out
}

// bootCfg is a boot.cfg as an ISO of ESXi holds it, with fewer modules.
const bootCfg = `bootstate=0
title=Loading ESXi installer
timeout=5
prefix=
kernel=/b.b00
kernelopt=runweasel cdromBoot
modules=/s.v00 --- /tools.t00
build=8.0.3-0.0.24022510
updated=0
`

// TestGolden holds each file of each installer against the one in testdata.
func TestGolden(t *testing.T) {
	for name, j := range jobs(t) {
		d, _ := j.Rack.Device(j.Device)
		for _, file := range FilesOf(d.Install) {
			t.Run(name+"/"+file, func(t *testing.T) {
				got, err := j.File(file)
				if err != nil {
					t.Fatal(err)
				}
				golden := filepath.Join("testdata", name, file)
				if *update {
					if err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, got, 0o644)); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s is\n%s\nwant\n%s", golden, got, want)
				}
			})
		}
	}
}

// TestAutoinstallSaysWhatTheRackFileSays reads the golden files as YAML.
func TestAutoinstallSaysWhatTheRackFileSays(t *testing.T) {
	j := jobs(t)["autoinstall-static"]
	b, err := j.File("user-data")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Autoinstall struct {
			Network struct {
				Ethernets map[string]struct {
					Match     struct{ Macaddress string }
					Addresses []string
					Routes    []struct{ To, Via string }
				}
			}
			EarlyCommands []string `yaml:"early-commands"`
			UserData      struct {
				Hostname, FQDN string
				Users          []struct {
					Name   string
					Hashed string `yaml:"hashed_passwd"`
				}
			} `yaml:"user-data"`
		}
	}
	if err := yaml.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	a := got.Autoinstall
	eth := a.Network.Ethernets["rackreach"]
	if eth.Match.Macaddress != "02:00:00:00:00:0a" || eth.Addresses[0] != "10.0.1.11/24" || eth.Routes[0].Via != "10.0.1.1" ||
		a.UserData.FQDN != "server-01.r1.example.net" || a.UserData.Users[0].Hashed != secretHash || len(a.EarlyCommands) != 1 {
		t.Errorf("the installer reads %+v", a)
	}
}

// TestArgs: what the kernel of an installer is told leads it to its answer file.
func TestArgs(t *testing.T) {
	for name, want := range map[string]string{
		"preseed-static": "auto=true priority=critical interface=auto netcfg/no_default_route=true netcfg/get_nameservers=10.0.1.2 hostname=server-01 domain=r1.example.net url=http://10.0.1.9/native/0123456789abcdef0123456789abcdef/preseed.cfg",
		"preseed":        "auto=true priority=critical interface=auto netcfg/no_default_route=true netcfg/get_nameservers= hostname=server-01 domain=unassigned-domain url=http://10.0.1.9/native/0123456789abcdef0123456789abcdef/preseed.cfg",
		"kickstart":      "inst.ks=http://10.0.1.9/native/0123456789abcdef0123456789abcdef/ks.cfg inst.repo=http://10.0.1.5/rhel-9 inst.text ip=dhcp",
		"autoinstall":    "autoinstall ip=dhcp url=http://10.0.1.5/ubuntu.iso cloud-config-url=/dev/null ds=nocloud-net;s=http://10.0.1.9/native/0123456789abcdef0123456789abcdef/",
		"esxi":           "",
	} {
		if got := strings.Join(jobs(t)[name].Args(), " "); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestRefused: what cannot be answered is an error that says what to do.
func TestRefused(t *testing.T) {
	for _, x := range []struct {
		name, file, says string
		change           func(*Job)
	}{
		{"preseed", "../ks.cfg", "no such file", func(*Job) {}},
		{"preseed", "preseed.cfg", "not a device", func(j *Job) { j.Device = "server-99" }},
		{"preseed", "preseed.cfg", "write install:", func(j *Job) { j.Rack.Devices[0].Install = nil }},
		{"preseed", "preseed.cfg", "nobody could log in", func(j *Job) { j.Rack.Devices[0].Install.Keys = nil }},
		{"preseed-static", "preseed.cfg", "env:ROOT holds no hash", func(j *Job) { j.PasswordHash = Secret{} }},
		{"autoinstall-static", "user-data", "inventory", func(j *Job) { j.Rack.Devices[0].MACs = nil }},
		{"esxi", "boot.cfg", "1 to 65536 are possible", func(j *Job) { j.BootCfg = nil }},
		{"esxi", "boot.cfg", "not beside it", func(j *Job) { j.Folder = nil }},
		{"esxi", "boot.cfg", "twice", func(j *Job) { j.BootCfg = []byte("kernel=/b.b00\nkernel=/b.b00\nmodules=/s.v00\n") }},
		{"esxi", "boot.cfg", "no kernel", func(j *Job) { j.BootCfg = []byte("title=x\n") }},
		{"esxi", "boot.cfg", "no text", func(j *Job) { j.BootCfg = []byte("title=\x1b[2J\nkernel=/b.b00\n") }},
		{"preseed", "preseed.cfg", "server-01", func(j *Job) { j.Template = []byte("{{.Nothing}}") }},
		{"autoinstall", "user-data", "it takes 0 to 64 blanks", func(j *Job) { j.Template = []byte(`{{include "tell.sh" . | indent 65}}`) }},
		{"preseed", "preseed.cfg", "bytes of text", func(j *Job) { j.Template = []byte(`{{$x := "12345678"}}{{range 24}}{{$x = print $x $x}}{{end}}`) }},
		{"preseed", "preseed.cfg", "bytes of text", func(j *Job) { j.Template = []byte(`{{range 100000}}{{$x := include "tell.sh" $}}{{end}}`) }},
		{"preseed", "preseed.cfg", "may end in one of indent, line", func(j *Job) { j.Template = []byte("{{raw .Host}}") }},
		{"preseed", "preseed.cfg", "at most", func(j *Job) { j.Template = make([]byte, MaxTemplate+1) }},
		{"preseed", "preseed.cfg", "more than", func(j *Job) { j.Template = []byte(`{{range $i := 1000000}}{{$.Ticket}}{{end}}`) }},
		{"preseed", "preseed.cfg", "one of its parts", func(j *Job) { j.Template = []byte(`{{.}}`) }},
	} {
		j := jobs(t)[x.name]
		x.change(j)
		b, err := j.File(x.file)
		if x.says == "server-01" { // a key that is not there
			x.says = "Nothing"
		}
		if err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s/%s: %q, %v; want an error that says %q", x.name, x.file, b, err, x.says)
		}
		if err != nil && strings.Contains(err.Error(), secretHash) {
			t.Errorf("%s: its error holds the secret: %v", x.name, err)
		}
	}
}

// TestOwnTemplate: a template of a bundle is filled in as ours are, and needs to
// name no escaper.
func TestOwnTemplate(t *testing.T) {
	j := jobs(t)["kickstart-static"]
	j.Template = []byte("rootpw --iscrypted {{.PasswordHash}}\n%pre\n{{template \"disk.sh\" .}}\n%end\n")
	b, err := j.File("ks.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if want := "rootpw --iscrypted '" + secretHash + "'\n%pre\n# rackreach: finds"; !strings.HasPrefix(string(b), want) {
		t.Errorf("it is %.200s, want %s…", b, want)
	}
}

// TestSecretsStayInTheirFiles: however a job, a secret or an error is printed,
// logged or encoded, the hash is not there; nor is it in a file that is shown.
func TestSecretsStayInTheirFiles(t *testing.T) {
	for name, j := range jobs(t) {
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("a job", "job", j, "hash", j.PasswordHash, "pointer", &j.PasswordHash)
		}
		fmt.Fprintf(&log, "%v %+v %#v %s %q %d %x", j, *j, j, j.PasswordHash, j.PasswordHash, j.PasswordHash, &j.PasswordHash)
		b, err := json.Marshal(j)
		log.Write(b)
		if err != nil {
			t.Error(err)
		}
		d, _ := j.Rack.Device(j.Device)
		for _, file := range FilesOf(d.Install) {
			b, err := j.Redacted(file)
			log.Write(b)
			if err != nil {
				t.Error(err)
			}
		}
		if part := secretHash[12:30]; strings.Contains(log.String(), part) || strings.Contains(log.String(), fmt.Sprintf("%x", part)) {
			t.Errorf("%s: the secret is in\n%s", name, log.String())
		}
	}
	for _, bad := range []string{"hunter2", "$1$old$abcdefghijk", secretHash + "\n", secretHash + "'", "", "$6$" + strings.Repeat("a", 300)} {
		if _, err := ParseHash(bad); !errors.Is(err, ErrHash) || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("ParseHash(%q): %v", bad, err)
		}
	}
}

// A template that includes itself is an error, and not the end of the agent.
func TestTemplateThatIncludesItself(t *testing.T) {
	j := jobs(t)["preseed"]
	for _, own := range []string{`{{include "preseed.cfg" . | plain}}`, `{{define "a"}}{{include "b" . | plain}}{{end}}{{define "b"}}{{template "a" .}}{{end}}{{template "a" .}}`} {
		j.Template = []byte(own)
		if _, err := j.File("preseed.cfg"); err == nil || !strings.Contains(err.Error(), "includes itself") {
			t.Errorf("%.300v", err)
		}
	}
}
