package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

func plan() *Plan {
	return &Plan{
		Rack: &rack.Rack{Name: "r1", Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "p", BMC: &rack.BMC{Protocol: "ipmi", Credentials: "env:A"}},
			{Name: "server-01", Role: rack.Server, Platform: "p", Data: []rack.Port{{Device: "tor-1", Name: "1"}}},
		}},
		Platforms: map[string]rack.Platform{"p": {Name: "p", Steps: []rack.Step{{Name: "s"}}}},
		Plan:      &rack.Plan{Rack: "r1", Hash: "aa", Devices: []rack.PlannedDevice{{Name: "mgmt-1"}, {Name: "server-01", Image: rack.PlannedImage{Name: "i", Digest: "sha256:1"}}}},
	}
}

func TestPlanComesBack(t *testing.T) {
	h := Home(t.TempDir())
	d := h.Rack("r1")
	if _, err := d.ReadPlan(); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	want := plan()
	if err := errors.Join(d.WritePlan(want), h.KeepShown(want)); err != nil {
		t.Fatal(err)
	}
	got, err := d.ReadPlan()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	if got, err := h.Shown("aa"); err != nil || got.Plan.Hash != "aa" {
		t.Error(got, err)
	}
	for _, hash := range []string{"", "bb", "../aa", "a/b"} {
		if _, err := h.Shown(hash); !errors.Is(err, ErrNone) {
			t.Errorf("%q: %v", hash, err)
		}
	}
	if info, err := os.Stat(d.file("plan.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

func TestSecretStays(t *testing.T) {
	d := Home(t.TempDir()).Rack("r1")
	a, err := d.Secret()
	b, again := d.Secret()
	if err != nil || again != nil || string(a) != string(b) || len(a) < 16 {
		t.Errorf("%q %v, %q %v", a, err, b, again)
	}
	if err := os.WriteFile(d.file("secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Secret(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Error("an empty secret was taken:", err)
	}
}

func TestBadPlansAreRefused(t *testing.T) {
	d := Home(t.TempDir()).Rack("r1")
	for text, want := range map[string]string{"": "read the plan", "{}": "missing", `{"version":99}`: "newer rackreach", "\xff": "read the plan"} {
		if err := errors.Join(os.MkdirAll(string(d), 0o700), os.WriteFile(d.file("plan.json"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadPlan(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestChangedPlansAreRefused: a run goes on with what was looked at, or not at all.
func TestChangedPlansAreRefused(t *testing.T) {
	b, err := plan().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		t.Error("other spaces:", err)
	}
	for from, to := range map[string]string{"sha256:1": "sha256:2", `"r1"`: `"r2"`, "server-01": "server-02"} {
		changed := bytes.Replace(b, []byte(from), []byte(to), 1)
		if _, err := Decode(changed); err == nil || !strings.Contains(err.Error(), "it was changed since it was written") {
			t.Errorf("%s instead of %s: %v", to, from, err)
		}
	}
}

func TestOnlyTheNewestPlansAreKept(t *testing.T) {
	h := Home(t.TempDir())
	for i := range maxPlans + 5 {
		p := plan()
		p.Plan.Hash = strings.Repeat("x", i+1)
		if err := h.KeepShown(p); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(filepath.Join(string(h), "plans"))
	if err != nil || len(files) != maxPlans {
		t.Errorf("%d plans are kept, %v", len(files), err)
	}
	if _, err := h.Shown(strings.Repeat("x", maxPlans+5)); err != nil {
		t.Error("the newest one is gone:", err)
	}
}

func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		want   []string
	}{
		"nothing":           {func(*Plan) {}, nil},
		"an image":          {func(p *Plan) { p.Plan.Devices[1].Image.Digest = "sha256:2" }, []string{"server-01: image i sha256:2… instead of i sha256:1…"}},
		"a device is new":   {func(p *Plan) { p.Rack.Devices = append(p.Rack.Devices, rack.Device{Name: "server-02"}) }, []string{"server-02: is new"}},
		"a device is gone":  {func(p *Plan) { p.Rack.Devices = p.Rack.Devices[:1] }, []string{"server-01: is not in the rack file any more"}},
		"a cable":           {func(p *Plan) { p.Rack.Devices[1].Data = nil }, []string{"server-01: data none instead of [tor-1:1]"}},
		"part of a BMC":     {func(p *Plan) { p.Rack.Devices[0].BMC.Credentials = "env:B" }, []string{"mgmt-1: bmc.credentials env:B instead of env:A"}},
		"the rack's number": {func(p *Plan) { p.Rack.Number = 2 }, []string{"the rack: number 2 instead of 0"}},
		"a platform":        {func(p *Plan) { p.Platforms["p"] = rack.Platform{Name: "p"} }, []string{"mgmt-1: its platform p is another", "server-01: its platform p is another"}},
		"the core":          {func(p *Plan) { p.Plan.Hash = "bb" }, []string{"the rack: another version of rackreach carries it out in another way"}},
	} {
		now := plan()
		c.change(now)
		if got := Changes(plan(), now); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDefault(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want Home
	}{
		{map[string]string{"RACKREACH_STATE": "x", "HOME": "/h"}, "x"},
		{map[string]string{"STATE_DIRECTORY": "/var/lib/rackreach", "HOME": "/root"}, "/var/lib/rackreach"},
		{map[string]string{"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/rackreach"},
		{map[string]string{"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/rackreach"},
		{nil, ""},
	} {
		got, err := Default(func(k string) (string, bool) { v, ok := c.env[k]; return v, ok })
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%v: %q %v", c.env, got, err)
		}
	}
}
