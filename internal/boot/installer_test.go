package boot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// diskShelf is a store of one disk image.
type diskShelf struct {
	*shelf
	index []byte
}

func (s diskShelf) Disk(name string) (raw, index job.Blob, ok bool) {
	d := "sha256:" + strings.Repeat("d", 64)
	return job.Blob{Digest: d, Size: 9}, job.Blob{Digest: d, Size: int64(len(s.index))}, name == s.image.Name
}

func (s diskShelf) Installer(platform string) (kernel, initramfs string, ok bool) {
	return s.image.Name, "nothing", platform == "sim-server"
}

func (s diskShelf) OpenFrames(string) (io.ReadSeekCloser, error) {
	return opened{bytes.NewReader(s.index)}, nil
}

// An installer of disks gets a job that it can read, the index of its image, and is
// heard; all of it for an open ticket only.
func TestDiskImage(t *testing.T) {
	b := newBench(t)
	b.o.Images = diskShelf{b.shelf, []byte("index")}
	b.open.Install = &job.Install{Disk: job.DiskRule{Serial: "A"}, Grow: true}
	if err := b.SetTickets([]Ticket{b.open, b.closed}); err != nil {
		t.Fatal(err)
	}
	status, _, body := b.do("GET", "/job/"+b.open.Token, nil)
	from, err := url.Parse(b.JobURL(b.open))
	if err != nil {
		t.Fatal(err)
	}
	j, err := job.Parse(body, from)
	if err != nil || status != 200 || !reflect.DeepEqual(j.Install, b.open.Install) || j.Image.Frames.Size != 5 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if status, _, body := b.do("GET", "/frames/"+b.open.Token, nil); status != 200 || string(body) != "index" {
		t.Errorf("frames: %d %q", status, body)
	}
	for _, tt := range []struct {
		path, token, body string
		want              int
	}{
		{"/hardware/", b.open.Token, `{"serial":"X\u001b1","disks":[{"path":"/dev/vda"}]}`, 204},
		{"/hardware/", b.open.Token, `{"memory":-1}`, 400},
		{"/hardware/", b.closed.Token, `{}`, 409},
		{"/progress/", b.open.Token, `{"phase":"writing","written":5,"checked":3,"total":9}`, 204},
		{"/progress/", b.open.Token, `{"phase":"writing","written":5,"checked":6,"total":9}`, 400},
		{"/progress/", b.open.Token, `{"phase":"finishing","written":1,"checked":1,"total":1}`, 400}, // of another image
		{"/progress/", b.open.Token, strings.Repeat(" ", job.MaxProgress+1), 400},
		{"/progress/", b.closed.Token, `{}`, 409},
		{"/progress/", Token([]byte("s"), "unknown"), `{}`, 404},
	} {
		if got, _, text := b.do("POST", tt.path+tt.token, strings.NewReader(tt.body)); got != tt.want {
			t.Errorf("POST %s %.40s: %d %s, want %d", tt.path, tt.body, got, text, tt.want)
		}
	}
	if got, _, _ := b.do("GET", "/frames/"+b.closed.Token, nil); got != 410 {
		t.Errorf("frames of a closed ticket: %d", got)
	}
	if served, size := b.Progress("server-01"); served != 0 || size == 0 || len(b.evidence()) != 0 {
		t.Errorf("%d of %d bytes count as served, %v", served, size, b.evidence())
	}
	if h := b.Hardware("server-01"); h == nil || h.Serial != "X 1" || b.Hardware("server-02") != nil {
		t.Errorf("hardware %+v", h)
	}
	if p := b.InstallerProgress("server-01"); p == nil || *p != (job.Progress{Phase: job.Writing, Written: 5, Checked: 3, Total: 9}) || b.InstallerProgress("nobody") != nil {
		t.Errorf("progress %+v", p)
	}
}

// A disk image without a word on the disk goes on the only one that there is; what is
// no disk image has no frames.
func TestNoRule(t *testing.T) {
	b := newBench(t)
	if got, _, _ := b.do("GET", "/frames/"+b.open.Token, nil); got != 404 {
		t.Errorf("frames: %d", got)
	}
	b.o.Images = diskShelf{b.shelf, nil}
	var j job.Job
	_, _, body := b.do("GET", "/job/"+b.open.Token, nil)
	if err := json.Unmarshal(body, &j); err != nil || j.Install == nil || !reflect.DeepEqual(*j.Install, job.Install{}) {
		t.Errorf("%s: %v", body, err)
	}
}

// The files that a device is told who it is by are made for each job anew, and the ticket
// keeps none of them; without them there is no job.
func TestSeed(t *testing.T) {
	b := newBench(t)
	b.o.Images = diskShelf{b.shelf, nil}
	ticket := b.open
	ticket.Install = &job.Install{Grow: true, Files: []job.File{{Partition: 1, Path: "/a", Content: "a"}}}
	if err := b.SetTickets([]Ticket{ticket}); err != nil {
		t.Fatal(err)
	}
	made := 0
	b.o.Seed = func(x Ticket, base string) ([]job.File, error) {
		made++
		if base != b.base+"/native/"+x.Token {
			t.Errorf("base %s", base)
		}
		return []job.File{{Partition: 2, Path: "/seed", Content: "secret"}}, nil
	}
	for range 2 {
		var j job.Job
		_, _, body := b.do("GET", "/job/"+ticket.Token, nil)
		want := job.Install{Grow: true, Files: []job.File{{Partition: 1, Path: "/a", Content: "a"}, {Partition: 2, Path: "/seed", Content: "secret"}}}
		if err := json.Unmarshal(body, &j); err != nil || !reflect.DeepEqual(*j.Install, want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if made != 2 || len(ticket.Install.Files) != 1 {
		t.Errorf("made %d times, the ticket has %v", made, ticket.Install.Files)
	}
	b.o.Seed = func(Ticket, string) ([]job.File, error) { return nil, errors.New("hunter2 is not set") }
	if got, _, body := b.do("GET", "/job/"+ticket.Token, nil); got != 500 || strings.Contains(string(body), "hunter2") {
		t.Errorf("%d %s", got, body)
	}
}

// What an installer says is told in few lines for people, however often it says it.
func TestInstallerSays(t *testing.T) {
	b := newBench(t)
	b.o.Images = diskShelf{b.shelf, []byte("index")}
	var lines []string
	b.o.Said = func(x Ticket, remote, line string) {
		if x.ID != b.open.ID || !strings.HasPrefix(remote, "127.0.0.1:") {
			t.Errorf("%s from %s", x.ID, remote)
		}
		lines = append(lines, line)
	}
	var found []job.Hardware
	b.o.Found = func(x Ticket, h *job.Hardware) { found = append(found, *h) }
	say := func(path, body string) {
		t.Helper()
		if got, _, text := b.do("POST", path+b.open.Token, strings.NewReader(body)); got != 204 {
			t.Fatalf("%s: %d %s", body, got, text)
		}
	}
	for range 2 {
		say("/hardware/", `{"vendor":"V","model":"M\u001b","serial":"S","firmware":"uefi","threads":2,"memory":5,"disks":[{"path":"/dev/sda","size":9,"serial":"D"}],"nics":[{"name":"eth0","mac":"02:00:00:00:00:01","link":true}],"problems":["no module a"]}`)
		say("/hardware/", `{"problems":["no module a","no module b"]}`)
		for n := range 10 {
			say("/progress/", fmt.Sprintf(`{"phase":"writing","written":9,"checked":%d,"total":9}`, n))
		}
	}
	want := []string{"V M S, uefi, 2 threads, 5 bytes of memory; /dev/sda 9 bytes D; eth0 02:00:00:00:00:01 link", "problem: no module a", "problem: no module b",
		"25 % of the image is written and read back", "50 % of the image is written and read back", "75 % of the image is written and read back", "100 % of the image is written and read back"}
	if got := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "problem: no module b") }); !slices.Equal(got, slices.Delete(slices.Clone(want), 2, 3)) {
		t.Errorf("%q", lines)
	}
	if len(found) != 4 || found[0].Serial != "S" || strings.Contains(found[0].Model, "\x1b") {
		t.Errorf("%+v", found)
	}
	for n := range 10 * job.MaxProblems { // somebody makes noise
		say("/hardware/", fmt.Sprintf(`{"problems":["%d %s"]}`, n, strings.Repeat("x", 500)))
	}
	for _, l := range lines {
		if len(l) > MaxSaid {
			t.Errorf("%d bytes", len(l))
		}
	}
	if len(lines) > maxChanges+4 || len(found) > maxChanges {
		t.Errorf("%d lines, found %d times", len(lines), len(found))
	}
}

// A disk image that an installer has all of is fetched under a new ticket only, which
// begins with the index; a part that came damaged may be fetched again. What an earlier
// life of the agent has served, the installer says.
func TestDeliveredDiskImage(t *testing.T) {
	b := newBench(t)
	b.o.Images = diskShelf{b.shelf, []byte("index")}
	part := []string{"Range", "bytes=0-99"}
	for _, tt := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"GET", "/frames/", "", nil, 200}, {"GET", "/image/", "", part, 206},
		{"POST", "/progress/", `{"phase":"finishing","written":9,"checked":9,"total":9}`, nil, 204},
		{"GET", "/image/", "", part, 206}, {"GET", "/image/", "", nil, 410}, {"GET", "/image/", "", []string{"Range", "bytes=0-"}, 410}, {"GET", "/frames/", "", nil, 410},
	} {
		if got, _, body := b.do(tt.method, tt.path+b.open.Token, strings.NewReader(tt.body), tt.header...); got != tt.want {
			t.Errorf("%s %s %v: %d %s, want %d", tt.method, tt.path, tt.header, got, body, tt.want)
		}
	}
	b.stop()
	if served, size := b.Progress("server-01"); served != size || !slices.Equal(b.evidence(), []rack.Evidence{rack.FetchedImage}) {
		t.Errorf("served %d of %d, evidence %v", served, size, b.evidence())
	}
}

// The script of a disk image boots the installer of the bundle, which is served for an
// open ticket.
func TestDiskScript(t *testing.T) {
	b := newBench(t)
	if _, ok := b.diskScript(b.open); ok {
		t.Error("a script for what is no disk image")
	}
	b.o.Images = diskShelf{b.shelf, nil}
	base := b.base + "/installer/" + b.open.Token
	want := "#!ipxe\n# rackreach: rack r1, device server-01 (server), ticket run-1/server-01/1\n# image sim-hypervisor " + b.open.Image.Digest + "\nkernel " + base +
		"/kernel initrd=initramfs console=tty0 console=ttyS0,115200n8 panic=30 rackreach.job=" + b.JobURL(b.open) + " rackreach.mac=${netX/mac}\ninitrd --name initramfs " + base + "/initramfs\nboot\n"
	if got := b.script(b.open); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	other := b.open
	other.Platform = "other"
	if _, ok := b.diskScript(other); ok {
		t.Error("a script without an installer")
	}
	for path, want := range map[string]int{b.open.Token + "/kernel": 200, b.open.Token + "/initramfs": 500, b.open.Token + "/other": 404, b.closed.Token + "/kernel": 410} {
		if got, _, body := b.do("GET", "/installer/"+path, nil); got != want || want == 200 && !bytes.Equal(body, b.shelf.data) {
			t.Errorf("%s: %d with %d bytes, want %d", path, got, len(body), want)
		}
	}
}
