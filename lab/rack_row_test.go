//go:build lab

package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Two racks: the second holds the inter-rack switches, which join them. Each has fewer
// servers than the rack that stands alone, so that two cores suffice.
var (
	firstOfTwo  = layout{name: "r1", folder: "r1", number: 1, file: "rack-1.yaml", bits: 16, servers: []slot{{bios, plainCPU}}}
	secondOfTwo = layout{name: "r2", folder: "r2", number: 2, file: "rack-2.yaml", bits: 16, interRack: 2, servers: []slot{{bios, plainCPU}, {uefiHTTP, plainCPU}}}
)

// row is two racks, their agents, and a coordinator on a host of its own.
type row struct {
	*center
	one    *labRack
	two    *labRack
	cables []backplaneCable
	began  time.Time
}

// backplaneCable is a cable between the racks.
type backplaneCable struct {
	a, b string // "r2/inter-rack-1:swp7", "r1/tor-1:swp49"
	*patch
}

func newRow(t *testing.T) *row {
	t.Helper()
	r := &row{began: time.Now()}
	dir, hall := folder(t), newHall(t)
	r.one = newRack(t, hall, filepath.Join(dir, "r1"), firstOfTwo)
	r.two = newRack(t, hall, filepath.Join(dir, "r2"), secondOfTwo)
	site := filepath.Join(dir, "site")
	if err := os.Mkdir(site, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", "testdata/rack/fleet.yaml", "testdata/rack/platforms", site).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.center = newCenter(t, newRackStock(t), dir, r.one, r.two)
	for i := range r.two.interRack {
		for tor := range 2 {
			r.join(fmt.Sprintf("inter-rack-%d", i+1), 7+tor, fmt.Sprintf("tor-%d", tor+1), trunkPort+1+i)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := r.ask("status")
			t.Logf("status:\n%s", out)
		}
	})
	return r
}

// join cables a port of an inter-rack switch to one of a ToR switch of the first rack.
func (r *row) join(spine string, port int, tor string, far int) {
	r.t.Helper()
	a := fmt.Sprintf("%s.swp%d", spine, port)
	b := fmt.Sprintf("%s.swp%d", tor, far)
	r.two.nodes[spine].plug(r.two, port, a+".panel", false)
	r.one.nodes[tor].plug(r.one, far, b+".panel", false)
	p := newPatch(r.t, r.two.hall, r.two.cable(a), r.two.cable(a+".panel"), r.one.cable(b), r.one.cable(b+".panel"))
	r.cables = append(r.cables, backplaneCable{fmt.Sprintf("r2/%s:swp%d", spine, port), fmt.Sprintf("r1/%s:swp%d", tor, far), p})
}

// coordinate starts the coordinator and an agent at each rack.
func (r *row) coordinate() map[string]*life {
	r.t.Helper()
	r.start()
	agents := map[string]*life{}
	for _, x := range r.racks {
		agents[x.name] = r.agent(x)
	}
	await(r.t, time.Minute, "both agents are connected", func() bool {
		f := r.fleet()
		return len(f.Racks) == 2 && f.Racks[0].Agent.Connected && f.Racks[1].Agent.Connected
	})
	return agents
}

// fleetState is what the product says of both racks.
type fleetState struct {
	Name, Status string
	Racks        []struct {
		Name, Status string
		Agent        struct{ Connected bool }
	}
	Backplane []struct{ A, B, State, Note string }
}

// fleet asks; it is empty as long as no agent has come.
func (r *row) fleet() fleetState {
	r.t.Helper()
	var f struct{ Fleet fleetState }
	out, code := r.ask("status", "-o", "json")
	if code != 0 {
		return fleetState{}
	}
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return f.Fleet
}

// both reports whether both racks are completed, as the product says.
func (f *fleetState) both() bool {
	n := 0
	for _, x := range f.Racks {
		if x.Status == "completed" {
			n++
		}
	}
	return n == 2
}

// links are the cables between racks, as the product says how they stand: "STATE NOTE" by
// their ends.
func (f *fleetState) links() map[[2]string]string {
	out := map[[2]string]string{}
	for _, l := range f.Backplane {
		ends := [2]string{l.A, l.B}
		slices.Sort(ends[:])
		out[ends] = strings.TrimSpace(l.State + " " + l.Note)
	}
	return out
}

// link is how one of them stands.
func (f *fleetState) link(c backplaneCable) string { return f.links()[[2]string{c.b, c.a}] }

// TestTwoRacks: two racks at once, joined by the inter-rack switches of the second. One
// cable between them was forgotten: the fleet is completed when it is plugged.
func TestTwoRacks(t *testing.T) {
	r := newRow(t)
	forgotten := r.cables[3]
	forgotten.unplug()
	for _, x := range r.racks {
		x.powerUp()
	}
	agents := r.coordinate()
	r.must("apply", "fleet.yaml", "--bundle", r.stock.bundle)
	if f := r.fleet(); f.Name != "lab-row" || len(f.Backplane) != 4 || f.Status == "completed" {
		t.Fatalf("the fleet was applied and is %+v", f)
	}
	for _, x := range r.racks {
		agents[x.name].awaitReady()
	}
	await(t, rackLimit, "both racks are completed", func() bool { f := r.fleet(); return f.both() })
	completed := time.Since(r.began)
	for _, c := range r.cables[:3] {
		await(t, time.Minute, c.a+" and "+c.b+" hear each other", func() bool { f := r.fleet(); return f.link(c) == "open" })
	}
	if f := r.fleet(); f.Status != "imaging" || !strings.Contains(f.link(forgotten), "ready") || !strings.Contains(f.link(forgotten), "hears nothing") {
		t.Errorf("a cable between the racks is missing, the fleet is %s, and of the cable it is said: %q", f.Status, f.link(forgotten))
	}
	t.Logf("%6.1f s  both racks are completed, and the cable that was forgotten is plugged", completed.Seconds())
	forgotten.plug()
	await(t, rackLimit, "the fleet is completed", func() bool { f := r.fleet(); return f.Status == "completed" })
	seconds := time.Since(r.began).Seconds()
	t.Logf("%6.1f s  the fleet is completed:\n%s", seconds, r.must("status"))
	for _, c := range r.cables {
		if f := r.fleet(); f.link(c) != "open" {
			t.Errorf("the fleet is completed, and of %s and %s it is said: %q", c.a, c.b, f.link(c))
		}
	}
	r.judge()
	for _, x := range r.racks {
		x.judgeReport()
	}
	if file := os.Getenv("LAB_RESULT"); file != "" && !t.Failed() { // what make prints last
		if err := os.WriteFile(file, fmt.Appendf(nil, "RESULT lab_two_racks_seconds %.0f\n", seconds), 0o644); err != nil {
			t.Error(err)
		}
	}
}
