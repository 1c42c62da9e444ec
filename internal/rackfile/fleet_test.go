package rackfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/examples"
	"github.com/rackreach/rackreach/internal/platform"
)

// example opens the embedded examples.
func example(path string) ([]byte, error) { return examples.Files.ReadFile(filepath.ToSlash(path)) }

func TestTheExampleFleet(t *testing.T) {
	data, err := example("fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ParseFleet("fleet.yaml", data, example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	if f.Spec.Name != "row-4" || f.Spec.AtOnce != 2 || f.Spec.HaltAfter != 1 || strings.Join(f.Spec.Racks, " ") != "r1 r2" || len(f.Racks) != 2 {
		t.Errorf("%+v", f.Spec)
	}
}

func TestWhatAFleetFileMayNotSay(t *testing.T) {
	const head = "apiVersion: rackreach/v1\nkind: Fleet\n"
	for _, x := range []struct{ name, text, want string }{
		{"no name", head + "racks: [{file: rack-1.yaml}]", "fleet.yaml:1: name is missing"},
		{"no racks", head + "name: f", "fleet.yaml:1: racks is missing"},
		{"racks are none", head + "name: f\nracks: []", "fleet.yaml:4: racks is not a list"},
		{"not a list", head + "name: f\nracks: rack-1.yaml", "fleet.yaml:4: racks is not a list"},
		{"a file that is not there", head + "name: f\nracks: [{file: nowhere.yaml}]", `fleet.yaml:4: "nowhere.yaml" cannot be read`},
		{"a rack twice", head + "name: f\nracks:\n  - file: rack-1.yaml\n  - file: rack-1.yaml", "rack r1 is in the fleet twice"},
		{"a rack outside", head + "name: f\nracks:\n  - file: rack-2.yaml", "fleet.yaml:5: inter-rack-1:7 leads to rack r1, which is not in the fleet"},
		{"nothing at once", head + "name: f\natOnce: 0\nracks: [{file: rack-1.yaml}]", "fleet.yaml:4: atOnce is 0"},
		{"fewer than none", head + "name: f\nmaxHalted: -1\nracks: [{file: rack-1.yaml}]", "fleet.yaml:4: maxHalted is -1"},
		{"an unknown key", head + "name: f\nspeed: 4\nracks: [{file: rack-1.yaml}]", `unknown key "speed"`},
		{"an unknown role", head + "name: f\ndefaults: {platforms: {king: x}}\nracks: [{file: rack-1.yaml}]", `unknown key "king"`},
		{"an unknown platform", head + "name: f\ndefaults:\n  platforms:\n    server: nonsense\nracks: [{file: rack-1.yaml}]", `fleet.yaml:6: "nonsense" is not a platform; write: one of `},
		{"a name that is none", head + "name: \"a\\e[31m b\"\nracks: [{file: rack-1.yaml}]", `fleet.yaml:3: "a\x1b[31m b" is not a name for a fleet`},
		{"an alias", head + "name: &a f\nracks: [{file: rack-1.yaml}]", "an anchor or alias"},
		{"a fleet in a fleet", head + "name: f\nracks: [{file: fleet.yaml}]", "kind is \"Fleet\""},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := ParseFleet("fleet.yaml", []byte(x.text), example, platform.All())
			var p Problems
			if !errors.As(err, &p) || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestProblemsOfAllRacks are told at once.
func TestProblemsOfAllRacks(t *testing.T) {
	open := func(string) ([]byte, error) { return []byte("kind: Rack\nname: x"), nil }
	_, err := ParseFleet("fleet.yaml", []byte("apiVersion: rackreach/v1\nkind: Fleet\nname: f\nracks: [{file: a.yaml}, {file: b.yaml}]"), open, platform.All())
	if err == nil || !strings.Contains(err.Error(), "a.yaml:") || !strings.Contains(err.Error(), "b.yaml:") {
		t.Errorf("%v", err)
	}
}

func TestDefaultsFillWhatIsLeftOut(t *testing.T) {
	rack1, err := example("rack-1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bare := strings.ReplaceAll(strings.ReplaceAll(string(rack1), "    platform: sim-server\n", ""), `, credentials: "env:RACK_BMC"`, "")
	open := func(path string) ([]byte, error) {
		if path == "rack-1.yaml" {
			return []byte(bare), nil
		}
		return example(path)
	}
	const head = "apiVersion: rackreach/v1\nkind: Fleet\nname: f\nracks: [{file: rack-1.yaml}]\n"
	if _, err := ParseFleet("fleet.yaml", []byte(head), open, platform.All()); err == nil {
		t.Fatal("nothing was left out")
	}
	f, err := ParseFleet("fleet.yaml", []byte(head+`defaults: {credentials: "env:OTHER", platforms: {server: sim-server, tor-switch: sim-server}}`), open, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Racks[0].Devices {
		if d.BMC != nil && d.BMC.Credentials != "env:OTHER" || d.Role == "tor-switch" && d.Platform != "sim-tor" || d.Role == "server" && d.Platform != "sim-server" {
			t.Errorf("%+v", d)
		}
	}
}

func TestIsFleet(t *testing.T) {
	dir := t.TempDir()
	for name, x := range map[string]struct {
		text string
		want bool
	}{"fleet": {"kind: Fleet", true}, "rack": {"kind: Rack", false}, "list": {"- kind: Fleet", false}, "rubbish": {"\x00\x01", false}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if IsFleet(path) != x.want {
			t.Errorf("%s", name)
		}
	}
	if IsFleet(filepath.Join(dir, "none")) {
		t.Error("a file that is not there")
	}
}

func FuzzParseFleet(f *testing.F) {
	data, err := example("fleet.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("kind: Fleet\ndefaults: {platforms: {server: x}}\nracks: [{file: rack-1.yaml}]"))
	platforms := platform.All()
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseFleet("fleet.yaml", data, example, platforms)
		if err == nil && (len(got.Racks) == 0 || len(got.Racks) != len(got.Spec.Racks)) {
			t.Fatalf("%+v", got)
		}
	})
}
