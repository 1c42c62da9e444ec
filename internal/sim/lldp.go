package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Times of LLDP, of real hardware (IEEE 802.1AB-2016 §9.2.5.7 msgTxInterval,
// §9.2.5.6 msgTxHold), and the floor that a busy machine needs.
const (
	lldpEvery = 30 * time.Second
	lldpFloor = 250 * time.Millisecond
	lldpHold  = 4                 // intervals after which a neighbour that fell silent is forgotten
	lldpMost  = 150 * time.Second // the longest time to live that is believed
)

// maxCrossings bounds the cables between two racks.
const maxCrossings = 128

// maxPortText bounds "DEVICE:PORT" of another rack, in bytes.
const maxPortText = 63 + 1 + 32

// neighbour is what a switch hears at one of its ports.
type neighbour struct {
	Port       string `json:"port"`
	Rack       string `json:"rack"`
	Device     string `json:"device"`
	RemotePort string `json:"remotePort"`
}

// crossing is a cable to another rack: near is a port of this one.
type crossing struct {
	near, far rack.Port
	moved     bool // it was plugged elsewhere than a rack file says: that counts on both sides
}

// lldp is what the switches of a rack say and hear of their neighbours. A switch
// speaks on every port once it runs its image with its configuration, whether it
// forwards there or not.
type lldp struct {
	rack   *rack.Rack
	fabric *fabric
	taken  map[rack.Port]bool    // ports that a cable within this rack ends at
	own    map[string][]crossing // by the other rack, as this rack's file says, after swaps

	mu    sync.Mutex
	peers map[*peer]struct{}
}

// peer is one conversation with another rack; there may be two with the same,
// since either side may have begun one.
type peer struct {
	rack  string
	heard map[rack.Port]neighbour // by our port; guarded by lldp.mu
	told  []crossing              // cables that it named, seen from us; guarded by lldp.mu
	wake  chan struct{}           // something it is to be told has changed
}

// announcement is all that one rack tells another of the cables between them.
type announcement struct {
	TTL    int64       `json:"ttlMillis"` // it is forgotten so long after it arrived
	Cables []announced `json:"cables"`
}

// announced is a cable as the rack that speaks sees it.
type announced struct {
	Near   string `json:"near"` // "inter-rack-1:7", of the rack that speaks
	Far    string `json:"far"`
	Speaks bool   `json:"speaks"` // the switch at the near end speaks LLDP
	Moved  bool   `json:"moved,omitempty"`
}

func newLLDP(r *rack.Rack, f *fabric, swaps []Swap) (*lldp, error) {
	y := &lldp{rack: r, fabric: f, taken: map[rack.Port]bool{r.Agent.Cable: true}, own: map[string][]crossing{}, peers: map[*peer]struct{}{}}
	for i := range r.Devices {
		y.taken[r.Devices[i].Management] = true
		for _, p := range r.Devices[i].Data {
			y.taken[p] = true
		}
	}
	links, moved := swapped(r.Links, swaps)
	for i, l := range links {
		to, far, ok := abroad(l.B)
		if !ok {
			y.taken[l.A], y.taken[l.B] = true, true
			continue
		}
		if y.own[to] = append(y.own[to], crossing{l.A, far, moved[i]}); len(y.own[to]) > maxCrossings {
			return nil, fmt.Errorf("more than %d cables to rack %s: a simulated rack has no more", maxCrossings, to)
		}
	}
	return y, nil
}

// abroad splits "rack:r1/tor-1:49" into the rack and its port.
func abroad(p rack.Port) (to string, far rack.Port, ok bool) {
	rest, ok := strings.CutPrefix(p.Device, "rack:")
	if !ok {
		return "", rack.Port{}, false
	}
	to, device, ok := strings.Cut(rest, "/")
	return to, rack.Port{Device: device, Name: p.Name}, ok
}

// neighbours lists what a switch hears, by port. A switch that does not speak
// does not listen either.
func (y *lldp) neighbours(device string) []neighbour {
	out := []neighbour{}
	if !y.fabric.speaks(device) {
		return out
	}
	for _, l := range y.rack.Links {
		for _, e := range [][2]rack.Port{{l.A, l.B}, {l.B, l.A}} {
			if near, far := e[0], e[1]; near.Device == device && !far.IsOutside() && y.fabric.speaks(far.Device) {
				out = append(out, neighbour{near.Name, y.rack.Name, far.Device, far.Name})
			}
		}
	}
	y.mu.Lock()
	for p := range y.peers {
		for near, n := range p.heard {
			if near.Device == device {
				out = append(out, n)
			}
		}
	}
	y.mu.Unlock()
	slices.SortFunc(out, func(a, b neighbour) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Rack, b.Rack), cmp.Compare(a.Device, b.Device), cmp.Compare(a.RemotePort, b.RemotePort))
	})
	return slices.Compact(out)
}

// between are the cables to a peer: those of both files. Where they contradict
// each other, a cable that was moved counts, then the file of the rack whose
// name comes last: both sides decide the same. y.mu is held.
func (y *lldp) between(p *peer) []crossing {
	claims := slices.Concat(y.own[p.rack], p.told)
	if p.rack > y.rack.Name {
		claims = slices.Concat(p.told, y.own[p.rack])
	}
	slices.SortStableFunc(claims, func(a, b crossing) int {
		if a.moved == b.moved {
			return 0
		}
		if a.moved {
			return -1
		}
		return 1
	})
	near, far := map[rack.Port]bool{}, map[rack.Port]bool{}
	var out []crossing
	for _, c := range claims {
		if near[c.near] || far[c.far] || len(out) == maxCrossings {
			continue
		}
		near[c.near], far[c.far] = true, true
		out = append(out, c)
	}
	return out
}

// says is what a peer is to be told now.
func (y *lldp) says(p *peer, ttl time.Duration) announcement {
	y.mu.Lock()
	cables := y.between(p)
	y.mu.Unlock()
	a := announcement{TTL: ttl.Milliseconds(), Cables: make([]announced, 0, len(cables))}
	for _, c := range cables {
		a.Cables = append(a.Cables, announced{c.near.String(), c.far.String(), y.fabric.speaks(c.near.Device), c.moved})
	}
	return a
}

// hears takes in what a peer says. Cables to ports that this rack does not have,
// or that something else is plugged into, are left out.
func (y *lldp) hears(p *peer, a announcement) error {
	if len(a.Cables) > maxCrossings {
		return fmt.Errorf("%d cables, more than %d", len(a.Cables), maxCrossings)
	}
	var told []crossing
	spoke := map[crossing]bool{}
	for _, x := range a.Cables {
		far, okFar := portOf(x.Near)
		near, okNear := portOf(x.Far)
		d, ours := y.rack.Device(near.Device)
		if !okFar || !okNear || !ours || !d.Role.IsSwitch() || y.taken[near] {
			continue
		}
		told = append(told, crossing{near, far, x.Moved})
		spoke[crossing{near: near, far: far}] = x.Speaks
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	news := !slices.Equal(p.told, told)
	p.told, p.heard = told, map[rack.Port]neighbour{}
	for _, c := range y.between(p) {
		if spoke[crossing{near: c.near, far: c.far}] {
			p.heard[c.near] = neighbour{c.near.Name, p.rack, c.far.Device, c.far.Name}
		}
	}
	if news {
		p.poke()
	}
	return nil
}

// portOf reads a port that a peer names.
func portOf(s string) (rack.Port, bool) {
	p, err := rack.ParsePort(s)
	return p, err == nil && len(s) <= maxPortText && named(p.Device) && named(p.Name)
}

// named reports whether a text can name a rack, a device or a port.
func named(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == ""
}

// poke lets the peer be told what there is to tell.
func (p *peer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// converse exchanges announcements with a peer until either side ends it, or the
// other one falls silent for longer than its last announcement lives.
func (y *lldp) converse(ctx context.Context, f *framed, with string, every time.Duration) error {
	p := &peer{rack: with, wake: make(chan struct{}, 1)}
	y.mu.Lock()
	y.peers[p] = struct{}{}
	y.mu.Unlock()
	defer func() {
		y.mu.Lock()
		delete(y.peers, p)
		y.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	told := make(chan error, 1)
	go func() {
		defer cancel()
		told <- y.tell(ctx, f, p, every)
	}()
	err := y.listen(f, p)
	cancel()
	return errors.Join(err, <-told)
}

func (y *lldp) listen(f *framed, p *peer) error {
	for ttl := lldpMost; ; {
		if err := f.SetReadDeadline(time.Now().Add(ttl)); err != nil {
			return err
		}
		var a announcement
		if err := f.hear(&a); err != nil {
			return err
		}
		if err := y.hears(p, a); err != nil {
			return err
		}
		ttl = min(max(time.Duration(a.TTL)*time.Millisecond, lldpFloor), lldpMost)
	}
}

// tell announces at once what changed, and all of it again at every interval.
func (y *lldp) tell(ctx context.Context, f *framed, p *peer, every time.Duration) error {
	again := time.NewTicker(every)
	defer again.Stop()
	ttl := min(lldpHold*every, lldpMost)
	var last announcement
	for due := true; ctx.Err() == nil; {
		changed := y.fabric.change() // before looking: nothing is missed
		if a := y.says(p, ttl); due || !slices.Equal(a.Cables, last.Cables) {
			if err := f.SetWriteDeadline(time.Now().Add(ttl)); err != nil {
				return err
			}
			if err := f.say(a); err != nil {
				return err
			}
			last = a
		}
		due = false
		select {
		case <-ctx.Done():
		case <-again.C:
			due = true
		case <-changed:
		case <-p.wake:
		}
	}
	return nil
}
