//go:build netns

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/ordercheck"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// Where the hosts of a fleet are.
const (
	nsCoordinator = "10.99.0.1"
	nsPort        = "7443"
	nsRack        = "10.99.0.%d" // 10 + its number
	nsSpare       = "10.99.0.21"
)

// site is a coordinator and the agents of a few racks, each on a host of its own.
type site struct {
	*world
	center      *host
	coordinator *process
	flags       []string // of the coordinator, besides
	names       []string // of the coordinator, besides
	spec        string   // of the fleet, besides
	racks       []*siteRack
	file        string          // of the fleet
	clocks      []time.Duration // how far those of the racks' hosts are ahead; empty: they are right
}

// siteRack is one rack of a site: the host of its agent, which is cabled to it.
type siteRack struct {
	s       *site
	name    string
	file    string
	record  string // of the devices themselves
	host    *host
	devices *process
	agent   *process
	number  int
}

// newSite makes an authority, its coordinator, and n racks whose agents are enrolled
// and connected.
func newSite(t *testing.T, n int, speed string) *site {
	t.Helper()
	s := newCenter(t)
	s.found(n, speed)
	return s
}

// newCenter is a site of which nothing runs yet.
func newCenter(t *testing.T) *site {
	t.Helper()
	s := &site{world: newWorld(t)}
	s.center = s.host("c", nsCoordinator)
	return s
}

// found makes the authority and starts everything.
func (s *site) found(n int, speed string) {
	s.t.Helper()
	named := []string{"coordinator", "init", "--name", nsCoordinator}
	for _, name := range s.names {
		named = append(named, "--name", name)
	}
	s.center.run(named...)
	s.startCoordinator()
	s.connected(n, speed)
}

// connected starts the racks and their agents, and writes the fleet file.
func (s *site) connected(n int, speed string) {
	s.t.Helper()
	var fleet strings.Builder
	fleet.WriteString("apiVersion: rackreach/v1\nkind: Fleet\nname: row-1\n" + s.spec + "racks:\n")
	for i := 1; i <= n; i++ {
		s.racks = append(s.racks, s.rack(i, speed))
		fmt.Fprintf(&fleet, "  - file: r%d.yaml\n", i)
	}
	s.file = filepath.Join(s.dir, "fleet.yaml")
	if err := os.WriteFile(s.file, []byte(fleet.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) startCoordinator() {
	s.t.Helper()
	s.coordinator = s.launchCoordinator()
	s.coordinator.says("coordinator, serving at")
}

// launchCoordinator starts a coordinator that may not come up.
func (s *site) launchCoordinator() *process {
	s.t.Helper()
	return s.center.start(s.binary, append([]string{"coordinator", "--listen", nsCoordinator + ":" + nsPort}, s.flags...)...)
}

// rack is the small rack under another name and number, with its agent.
func (s *site) rack(n int, speed string) *siteRack {
	s.t.Helper()
	yaml, err := os.ReadFile("testdata/rack-4.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	r := &siteRack{s: s, name: fmt.Sprintf("r%d", n), number: n}
	text := strings.NewReplacer("name: r4", "name: "+r.name, "number: 4", fmt.Sprintf("number: %d", n), "192.168.104.", fmt.Sprintf("192.168.10%d.", n), "10.0.4.", fmt.Sprintf("10.0.%d.", n)).Replace(string(yaml))
	r.file = filepath.Join(s.dir, r.name+".yaml")
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	r.host = s.host(r.name, fmt.Sprintf(nsRack, 10+n))
	if n <= len(s.clocks) {
		r.host.clock = s.clocks[n-1]
	}
	r.devices, r.record = r.plugged(r.host, speed)
	r.agent = r.enrolled(r.host)
	s.until(nsSoon, r.name+" is connected", func() bool { return r.seen().GetAgent().GetConnected() })
	return r
}

// plugged starts the rack's devices on a host.
func (r *siteRack) plugged(h *host, speed string) (p *process, record string) {
	r.s.t.Helper()
	record = filepath.Join(string(h.home), "record.jsonl")
	p = h.start(r.s.binary, "simulated-rack", r.file, "--speed", speed, "--seed", fmt.Sprint(r.number), "--record", record)
	p.says("serving at")
	return p, record
}

// enrolled starts an agent of the rack on a host that has no certificate yet.
func (r *siteRack) enrolled(h *host, flags ...string) *process {
	r.s.t.Helper()
	token := strings.TrimSpace(string(r.s.center.run("enroll", "--rack", r.name)))
	return r.started(h, append(flags, "--token", token)...)
}

func (r *siteRack) started(h *host, flags ...string) *process {
	r.s.t.Helper()
	return h.start(r.s.binary, append([]string{"agent", "--rack", r.name, "--simulate"}, flags...)...)
}

// seen is where the rack stands as the coordinator says; empty when it does not answer.
func (r *siteRack) seen() *messages.Rack { return looked(r.s.center.home.Coordinator(), r.name) }

// itself is where the rack stands as its agent says; empty when it does not answer.
func (r *siteRack) itself() *messages.Rack { return looked(r.host.home.Rack(r.name).Socket(), r.name) }

func looked(socket, name string) *messages.Rack {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := api.Dial(ctx, socket)
	if err != nil {
		return &messages.Rack{}
	}
	defer c.Close()
	a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(name)}))
	if err != nil {
		return &messages.Rack{}
	}
	return a.Msg.GetRack()
}

// device is where a device stands, as the agent says.
func (r *siteRack) device(name string) string {
	for _, d := range r.itself().GetDevices() {
		if d.GetName() == messages.DeviceName(r.name, name) {
			return d.GetStatus()
		}
	}
	return ""
}

// busy waits until a device is in a phase.
func (r *siteRack) busy(device string, phase rack.Phase) {
	r.s.t.Helper()
	r.s.until(nsPatience, fmt.Sprintf("%s/%s is in %s", r.name, device, phase), func() bool { return r.device(device) == string(phase) })
}

// caughtUp waits until the agent is connected and the coordinator holds what its
// journal holds at this moment, and returns how long that took.
func (r *siteRack) caughtUp(limit time.Duration) time.Duration {
	r.s.t.Helper()
	last := r.itself().GetLastSeq()
	if last == 0 {
		r.s.t.Fatalf("the agent of %s does not answer", r.name)
	}
	return r.s.reaches(limit, fmt.Sprintf("the coordinator holds event %d of %s", last, r.name), func() bool {
		m := r.seen()
		return m.GetAgent().GetConnected() && m.GetLastSeq() >= last
	})
}

// apply has the fleet imaged.
func (s *site) apply() {
	s.t.Helper()
	s.center.run("apply", s.file)
}

// completed waits until both sides say that every rack is completed.
func (s *site) completed() {
	s.t.Helper()
	for _, r := range s.racks {
		s.until(nsPatience, r.name+" is completed", func() bool {
			if status := r.itself().GetStatus(); status == string(rack.Halted) {
				s.t.Fatalf("%s is halted: %s", r.name, r.itself().GetCause())
			}
			return r.itself().GetStatus() == string(rack.Completed)
		})
		s.until(nsSoon, "the coordinator knows that "+r.name+" is completed", func() bool { return r.seen().GetStatus() == string(rack.Completed) })
	}
}

// judge holds the coordinator's log against the agents' journals, and both against
// what the devices saw. again names devices that were imaged more than once by order.
func (s *site) judge(again ...string) {
	s.t.Helper()
	for _, r := range s.racks {
		r.caughtUp(nsSoon)
		s.proven(s.center, r)
		r.agent.stop()
		s.proven(r.host, r)
		ours := s.center.run("events", r.name, "--json")
		theirs := r.host.run("journal", "dump", string(r.host.home.Rack(r.name)))
		if len(theirs) == 0 || !bytes.Equal(ours, theirs) {
			s.t.Errorf("%s: the coordinator holds %d events, the journal %d, and they are not the same: %s", r.name, bytes.Count(ours, []byte("\n")), bytes.Count(theirs, []byte("\n")), firstOther(ours, theirs))
		}
		r.witness(again)
	}
}

func (s *site) proven(h *host, r *siteRack) {
	s.t.Helper()
	if out, notes, err := h.try("verify", r.name); err != nil {
		s.t.Errorf("verify %s on %s: %v\n%s%s", r.name, h.name, err, out, notes)
	}
}

func firstOther(a, b []byte) string {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("line %d:\n%s\n%s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("one is longer, from line %d on", min(len(x), len(y)))
}

// witness holds what the devices themselves recorded against the run.
func (r *siteRack) witness(again []string) {
	t := r.s.t
	t.Helper()
	yaml, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(r.record)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := ordercheck.Check(bytes.NewReader(yaml), bytes.NewReader(record))
	if err != nil {
		t.Error(err)
	}
	for _, w := range wrong {
		t.Errorf("%s: %v", r.name, w)
	}
	completed := map[string]int{}
	for line := range bytes.Lines(record) {
		var l struct{ Kind, Device string }
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "install-completed" {
			completed[l.Device]++
		}
	}
	known, err := load(r.file, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	for i := range known.Devices {
		name, want := known.Devices[i].Name, 1
		for _, x := range again {
			if x == r.name+"/"+name {
				want++
			}
		}
		if completed[name] != want {
			t.Errorf("%s/%s: %d completed writes, not %d", r.name, name, completed[name], want)
		}
	}
}

// untouched demands that nobody has touched the devices of a record.
func (s *site) untouched(record string) {
	s.t.Helper()
	b, err := os.ReadFile(record)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l struct{ Kind, Device string }
		if err := json.Unmarshal(line, &l); err != nil {
			s.t.Fatal(err)
		}
		if l.Device != "" && (strings.HasPrefix(l.Kind, "bmc-") || strings.HasPrefix(l.Kind, "install") || strings.HasPrefix(l.Kind, "image-")) {
			s.t.Errorf("somebody touched a device: %s", line)
		}
	}
}

// TestFleetInNamespaces images two racks by a coordinator on another host. The
// cable of one agent is pulled for a while, other machines take themselves for the
// agent of its rack, and the coordinator is killed; nobody on site may notice.
func TestFleetInNamespaces(t *testing.T) {
	const away = 20 * time.Second
	const speed = "12" // the run lasts longer than everything that happens in it
	s := newSite(t, 2, speed)
	r1 := s.racks[0]
	began := time.Now()
	s.apply()
	r1.busy("mgmt-1", rack.Installation)
	t.Logf("mgmt-1 of r1 is installed after %s", time.Since(began).Round(time.Millisecond))

	copied := r1.copied()

	// A second machine that was enrolled for the rack by mistake, with devices in
	// reach, while the agent cannot say a word.
	before := r1.itself().GetLastSeq()
	r1.host.unplug()
	cut := time.Now()
	spare := s.host("spare", nsSpare)
	_, foreign := r1.plugged(spare, speed)
	second := r1.enrolled(spare)
	if out, code := second.wait(nsSoon); code == exitReady || !strings.Contains(out, "belongs to another agent") || !strings.Contains(out, "--adopt") {
		t.Errorf("a second machine for r1 ended with %d: %s", code, out)
	}
	s.untouched(foreign)
	s.until(away+nsSoon, "the coordinator calls the agent away", func() bool { return !r1.seen().GetAgent().GetConnected() })
	s.until(away+nsSoon, "the cut has lasted", func() bool { return time.Since(cut) >= away })
	seen := r1.seen().GetLastSeq()
	made := r1.itself().GetLastSeq()
	r1.host.plug()
	took := r1.caughtUp(nsSoon)
	t.Logf("RESULT agent cut off: %s, %d events before, %d more meanwhile, caught up within %s of the cable", time.Since(cut).Round(time.Second), before, made-seen, took.Round(time.Millisecond))

	// The coordinator.
	before = s.racks[1].itself().GetLastSeq()
	s.coordinator.kill()
	killed := time.Now()
	s.until(nsPatience, "an agent images on without its coordinator", func() bool { return s.racks[1].itself().GetLastSeq() > before+3 })
	s.startCoordinator()
	back := time.Now()
	for _, r := range s.racks {
		r.caughtUp(nsSoon)
	}
	t.Logf("RESULT coordinator killed: away for %s, caught up with both racks within %s", back.Sub(killed).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))

	// The copy of the agent's own state, started elsewhere.
	second = r1.started(spare, "--state", string(copied))
	if out, code := second.wait(nsSoon); code == exitReady || !strings.Contains(out, "another history") {
		t.Errorf("a copy of the state of r1 ended with %d: %s", code, out)
	}
	if !r1.seen().GetAgent().GetConnected() {
		t.Error("the copy has cut off the agent itself")
	}
	s.untouched(foreign)

	s.completed()
	t.Logf("both racks are completed after %s", time.Since(began).Round(time.Second))
	s.judge()
	t.Logf("RESULT journals and log are equal: %d and %d events", s.racks[0].seen().GetLastSeq(), s.racks[1].seen().GetLastSeq())
}

// copied is a copy of the agent's state as it is at this moment.
func (r *siteRack) copied() state.Home {
	r.s.t.Helper()
	other := state.Home(filepath.Join(r.s.dir, "copy"))
	r.agent.signal(syscall.SIGSTOP) // so that what is copied is whole
	err := os.CopyFS(string(other.Rack(r.name)), regular{os.DirFS(string(r.host.home.Rack(r.name)))})
	if err == nil {
		err = os.CopyFS(other.Identity(r.name), os.DirFS(r.host.home.Identity(r.name)))
	}
	r.agent.signal(syscall.SIGCONT)
	if err != nil {
		r.s.t.Fatal(err)
	}
	return other
}

// regular is a directory without its sockets.
type regular struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (r regular) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(r.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Type()&fs.ModeSocket != 0 }), err
}
