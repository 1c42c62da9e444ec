//go:build lab

package lab

import (
	"path/filepath"
	"strings"
	"time"
)

// judge holds what two racks that were imaged must show, besides what the product says of
// them.
func (r *row) judge() {
	r.t.Helper()
	for _, x := range r.racks {
		x.judge()
	}
	one, two := r.one.events(), r.two.events()
	r.judgeInterRack(one, two)
	r.judgeEvidence(one, two)
	r.judgeBackplane(two)
	r.judgeCrossing()
}

// span is from when to when something lasted.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// imaging is from a device's ticket to when its installed system came up.
func imaging(events []event, device string) (s span) {
	s.from = when(events, device, "step-started", "ticket")
	for _, e := range events {
		if e.Device == device && e.Event == "phase-completed" && e.Phase == "installation" {
			s.to = e.Time
		}
	}
	return s
}

// judgeInterRack: inter-rack switches are imaged in rack 2 only, after its management
// switch, and together with its ToR switches.
func (r *row) judgeInterRack(one, two []event) {
	r.t.Helper()
	for _, e := range one {
		if strings.HasPrefix(e.Device, "inter-rack") {
			r.t.Errorf("the journal of rack 1 tells of %s: %s", e.Device, e.Event)
		}
	}
	mgmt := when(two, "mgmt-1", "device-ready", "")
	for _, s := range r.two.switches()[1:] {
		x := imaging(two, s)
		if x.from.IsZero() || x.to.IsZero() || x.from.Before(mgmt) {
			r.t.Errorf("%s was imaged from %s to %s, the management switch was ready at %s", s, x.from, x.to, mgmt)
		}
		for _, tor := range []string{"tor-1", "tor-2"} {
			if strings.HasPrefix(s, "inter-rack") && !x.overlaps(imaging(two, tor)) {
				r.t.Errorf("%s was not imaged in parallel with %s", s, tor)
			}
		}
	}
}

// judgeEvidence: of every cable between the racks, either end has said in its own journal
// that it hears the other.
func (r *row) judgeEvidence(one, two []event) {
	r.t.Helper()
	hears := func(events []event, at, far string) bool {
		_, port, _ := strings.Cut(at, "/")
		for _, e := range events {
			if e.Event == "neighbour-seen" && e.Detail.Seen.Via == port && e.Detail.Seen.Message == far {
				return true
			}
		}
		return false
	}
	for _, c := range r.cables {
		if !hears(two, c.a, c.b) {
			r.t.Errorf("the journal of rack 2 does not say that %s hears %s", c.a, c.b)
		}
		if !hears(one, c.b, c.a) {
			r.t.Errorf("the journal of rack 1 does not say that %s hears %s", c.b, c.a)
		}
	}
}

// owners are whose MAC is whose: machines by their cards, BMCs, agents' hosts.
func (r *row) owners() map[string]*labRack {
	out := map[string]*labRack{}
	for _, x := range r.racks {
		out[x.agent.MAC("rr0").String()] = x
		for _, mac := range x.bmcs {
			out[mac] = x
		}
		for _, n := range x.nodes {
			for _, p := range n.nics {
				out[p.mac] = x
			}
		}
	}
	return out
}

// judgeBackplane: before an inter-rack switch was configured, no frame of one rack got into
// the other, at any port that leads there. Afterwards some did, both ways.
func (r *row) judgeBackplane(two []event) {
	r.t.Helper()
	opened := when(two, "inter-rack-1", "step-started", "push")
	other := when(two, "inter-rack-2", "step-started", "push")
	if opened.IsZero() || other.IsZero() {
		r.t.Error("the journal of rack 2 does not say when both inter-rack switches were configured: nothing can be judged by the recordings")
		return
	}
	if other.Before(opened) {
		opened = other
	}
	owners := r.owners()
	crossed := map[*labRack]int{} // frames' senders, by the rack that they got into
	look := func(x *labRack, device string, p port) {
		files, err := x.nodes[device].recordings(p)
		if err != nil || len(files) == 0 {
			r.t.Errorf("no recording of %s/%s:%s: %v", x.name, device, p.name, err)
		}
		far := map[string]bool{} // the machine at the other end speaks on its own cable
		for _, c := range r.cables {
			for _, y := range r.racks {
				for _, n := range y.nodes {
					for _, q := range n.nics {
						own, other := x.name+"/"+device+":"+p.name, y.name+"/"+n.name+":"+q.name
						if c.a == own && c.b == other || c.b == own && c.a == other {
							far[q.mac] = true
						}
					}
				}
			}
		}
		seen, err := sightings(files...)
		if err != nil {
			r.t.Error(err)
		}
		for mac, s := range seen {
			from := owners[mac]
			if far[mac] || from == nil || from == x {
				continue
			}
			if s.to.After(opened) {
				crossed[x]++
			}
			if s.from.Add(clockSlack).Before(opened) {
				r.t.Errorf("a frame of %s, of rack %s, at %s/%s:%s, %s before an inter-rack switch was configured", mac, from.name, x.name, device, p.name, opened.Sub(s.from))
			}
		}
	}
	for _, s := range []string{"tor-1", "tor-2"} {
		for _, x := range r.racks {
			for _, p := range x.nodes[s].nics {
				if isTrunk(p) {
					look(x, s, p)
				}
			}
		}
	}
	for _, x := range r.racks {
		if crossed[x] == 0 {
			r.t.Errorf("the recordings show no frame of the other rack that ever got into %s", x.name)
		}
	}
}

// judgeCrossing: a server of the first rack reaches the servers of the second, which have no
// way to each other but the backplane: its frames are in the recordings there.
func (r *row) judgeCrossing() {
	r.t.Helper()
	from := r.one.hosts()[0]
	for _, to := range r.two.hosts() {
		said, _, err := r.one.login(from, "ping -c 3 -W 5 "+r.two.address(to))
		if err != nil || strings.Contains(said, " 0 packets received") {
			r.t.Errorf("r1/%s does not reach r2/%s: %v\n%s", from, to, err, said)
		}
	}
	own := macs{}
	for _, p := range r.one.nodes[from].nics {
		own[p.mac] = true
	}
	for _, s := range r.two.switches() {
		if !strings.HasPrefix(s, "inter-rack") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(r.two.dir, "pcap", s+"-swp[78]-*.pcap"))
		if err != nil {
			r.t.Fatal(err)
		}
		seen, err := sightings(files...)
		if err != nil {
			r.t.Error(err)
		}
		for mac := range seen {
			if own[mac] {
				r.t.Logf("a frame of r1/%s came to r2/%s", from, s)
				return
			}
		}
	}
	r.t.Errorf("no recording of an inter-rack switch has a frame of r1/%s", from)
}
