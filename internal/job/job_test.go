package job

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

var from = &url.URL{Scheme: "http", Host: "10.77.0.1", Path: "/job/t"}

func sample() *Job {
	d := "sha256:" + strings.Repeat("a", 64)
	return &Job{Rack: "r1", Device: "server-01", Run: "run-1", Ticket: "r1/server-01/1", Role: "server", Platform: "debian-server",
		Image:  Image{Name: "debian-13", URL: "http://10.77.0.1/image/t", Digest: d, Size: 5, Raw: &Blob{d, 10}, Frames: &Source{"http://10.77.0.1/frames/t", Blob{d, 7}}},
		Report: "http://10.77.0.1/report/t", Overwrites: "receipt:run-0/r1/server-01/1", Progress: "http://10.77.0.1/progress/t", Hardware: "http://10.77.0.1/hardware/t",
		Install: &Install{Disk: DiskRule{Path: "/dev/nvme0n1", Serial: "S4 X", MinSize: 1, MaxSize: 2}, Grow: true, BootEntry: `\EFI\BOOT\BOOTX64.EFI`, Then: PowerOff,
			Files: []File{{Partition: 1, Path: "/etc/hostname", Mode: 0o644, Content: "server-01\n"}}}}
}

// What an agent writes, an installer reads.
func TestParse(t *testing.T) {
	b, err := Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	if j, err := Parse(b, from); err != nil || !reflect.DeepEqual(j, sample()) {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for says, change := range map[string]func(*Job){
		"rack is":                         func(j *Job) { j.Rack = "" },
		"ticket is":                       func(j *Job) { j.Ticket = "a\nb" },
		"device is":                       func(j *Job) { j.Device = strings.Repeat("x", 256) },
		"overwrites is":                   func(j *Job) { j.Overwrites = "everything" },
		"its digest or its size":          func(j *Job) { j.Image.Digest = "md5:1" },
		"no disk image in frames":         func(j *Job) { j.Image.Frames = nil },
		"image.raw":                       func(j *Job) { j.Image.Raw.Size = -1 },
		"image.frames":                    func(j *Job) { j.Image.Frames.Digest = "" },
		"install is missing":              func(j *Job) { j.Install = nil },
		"report is":                       func(j *Job) { j.Report = "" },
		"image.url is":                    func(j *Job) { j.Image.URL = "http://10.77.0.2/image/t" },
		"image.frames.url is":             func(j *Job) { j.Image.Frames.URL = "https://10.77.0.1/frames/t" },
		"progress is":                     func(j *Job) { j.Progress = "http://u@10.77.0.1/x" },
		"hardware is":                     func(j *Job) { j.Hardware = "http://10.77.0.1/" + strings.Repeat("x", 1024) },
		"install.disk.path is \"sda\"":    func(j *Job) { j.Install.Disk.Path = "sda" },
		"install.disk.path is \"/dev/.":   func(j *Job) { j.Install.Disk.Path = "/dev/../etc/passwd" },
		"install.disk.serial":             func(j *Job) { j.Install.Disk.Serial = "\x00" },
		"no disk has at least 3":          func(j *Job) { j.Install.Disk.MinSize = 3 },
		"install.then":                    func(j *Job) { j.Install.Then = "explode" },
		"install.bootEntry":               func(j *Job) { j.Install.BootEntry = "EFI" },
		"partition 0":                     func(j *Job) { j.Install.Files[0].Partition = 0 },
		"path \"/a/../b\"":                func(j *Job) { j.Install.Files[0].Path = "/a/../b" },
		"mode 4755":                       func(j *Job) { j.Install.Files[0].Mode = 0o4755 },
		"more than 131072 bytes":          func(j *Job) { j.Install.Files[0].Content = strings.Repeat("x", maxContents+1) },
		"at most 32 are possible":         func(j *Job) { j.Install.Files = make([]File, maxFiles+1) },
		"it has more than 262144 bytes":   func(j *Job) { j.Install.Files[0].Content = strings.Repeat("x", MaxJob) },
		"install.files[0]: path \"/\": i": func(j *Job) { j.Install.Files[0].Path = "/" },
	} {
		j := sample()
		change(j)
		b, err := Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b, from); !errors.Is(err, ErrJob) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// What the bytes themselves can have wrong.
func TestStrict(t *testing.T) {
	good, err := Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for says, b := range map[string]string{
		"not JSON":              string(good[:len(good)-1]),
		"there is more":         string(good) + "{}",
		`"overwrites" stands`:   strings.Replace(string(good), `"report"`, `"Overwrites":"foreign:x","report"`, 1),
		`unknown field "erase"`: strings.Replace(string(good), `"grow":true`, `"erase":true`, 1),
		"nested too deeply":     strings.Repeat("[", 100),
		"cannot unmarshal":      "[]",
	} {
		if _, err := Parse([]byte(b), from); !errors.Is(err, ErrJob) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestSaid(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"phase":"writing","written":5,"checked":3,"total":9,"new":1}`: true,
		`{"phase":"writing","written":5,"checked":6,"total":9}`:         false,
		`{"phase":"writing","written":10,"total":9}`:                    false,
		`{"phase":"dancing","total":9}`:                                 false,
		`{"phase":"writing"}`:                                           false,
		`{`:                                                             false,
		`{"phase":"` + strings.Repeat("x", MaxProgress) + `"}`:          false,
	} {
		if _, err := ParseProgress([]byte(text)); (err == nil) != ok || err != nil && !errors.Is(err, ErrSaid) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
	h, err := ParseHardware([]byte(`{"serial":"\u001b[2JX","disks":[{"path":"/dev/sda","serial":"` + strings.Repeat("é", 200) + `"}],"nics":[{"name":"eth0\n"}],"memory":1,"problems":["no\u001bmodule"]}`))
	if err != nil || h.Problems[0] != "no module" || h.Serial != "[2JX" || h.Disks[0].Serial != strings.Repeat("é", 58)+"…" || h.NICs[0].Name != "eth0" {
		t.Errorf("%+v, %v", h, err)
	}
	for _, text := range []string{`[]`, `{"memory":-1}`, `{"disks":[` + strings.Repeat(`{},`, maxDisks) + `{}]}`, `{"problems":[` + strings.Repeat(`"",`, MaxProblems) + `""]}`} {
		if _, err := ParseHardware([]byte(text)); !errors.Is(err, ErrSaid) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"rack":{"rack":[{}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := Parse(b, from)
		if err != nil {
			if !errors.Is(err, ErrJob) {
				t.Error(err)
			}
			return
		}
		again, err := Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := Parse(again, from); err != nil || !reflect.DeepEqual(j, k) {
			t.Errorf("%+v became %+v, %v", j, k, err)
		}
	})
}

func FuzzSaid(f *testing.F) {
	f.Add([]byte(`{"phase":"writing","written":5,"checked":3,"total":9}`))
	f.Add([]byte(`{"disks":[{"path":"/dev/sda"}],"nics":[{}],"neighbours":[{"system":"\u202e"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseProgress(b); err == nil && (p.Checked > p.Written || p.Written > p.Total || p.Total <= 0) {
			t.Errorf("%+v", p)
		}
		h, err := ParseHardware(b)
		if err != nil {
			return
		}
		before, _ := json.Marshal(h)
		h.clean()
		if after, _ := json.Marshal(h); string(before) != string(after) {
			t.Errorf("%s is not clean", before)
		}
	})
}
