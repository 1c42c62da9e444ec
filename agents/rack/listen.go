package rackagent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/lldp"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// maxComponents bounds the components that a Listener keeps, so that strangers fill
// no memory.
const maxComponents = 1024

// Listener observes an interface and answers nothing: it has no way to.
type Listener struct {
	link  *wire.Link
	rules *classify.Rules
	tell  *teller

	mu         sync.Mutex
	components map[string]*component // by MAC
	taken      map[netip.Addr]bool
	neighbour  lldp.Neighbour // the last that was heard
}

// component is what was seen of one MAC.
type component struct {
	class classify.Class
	keys  rack.Keys
	text  string
}

// NewListener makes a listener. nil rules: the ones that rackreach comes with.
func NewListener(link *wire.Link, rules *classify.Rules, tell func(Notice)) *Listener {
	if rules == nil {
		rules = classify.Default()
	}
	return &Listener{link: link, rules: rules, tell: newTeller("", tell), components: map[string]*component{}, taken: map[netip.Addr]bool{}}
}

// Run listens until ctx ends, and then returns nil, or until listening fails. It
// needs CAP_NET_RAW.
func (l *Listener) Run(ctx context.Context) (err error) {
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, x := range []struct {
		heard wire.Heard
		take  func(frame []byte)
	}{{wire.DHCP(), l.dhcp}, {wire.LLDP(), l.lldp}, {wire.ARP(), l.arp}} {
		x.heard.Others = true // on a mirror port there is more to hear
		tap, err := wire.OpenTap(l.link.Name, x.heard)
		if err != nil {
			cancel()
			_ = group.Wait() // the taps that are open close
			return err
		}
		group.Go(func() error { return wire.Hear(ctx, tap, x.take) })
	}
	l.tell.say(Notice{Kind: NoticeService, Text: fmt.Sprintf("listening on interface %s to DHCP, LLDP and ARP, and answering nothing", l.link.Name)})
	return group.Wait()
}

func (l *Listener) dhcp(frame []byte) {
	u, err := wire.ParseUDP(frame)
	if err != nil {
		return
	}
	if s, ok := foreign.Judge(u, foreign.Own{}); ok {
		l.take(s.Address)
		l.tell.say(Notice{Kind: NoticeForeign, MAC: s.MAC, Address: s.Address.String(), Evidence: s.Message + " to " + s.Client, Text: fmt.Sprintf("a DHCP server: %s", s)})
	}
	look, err := discovery.LookAt(u.Payload, l.rules)
	if err != nil {
		return
	}
	if mac := look.Keys.MAC; foreign.IsProbe(mac) {
		l.tell.say(Notice{Kind: NoticeSeen, MAC: mac, Text: fmt.Sprintf("%s is the question of a rackreach, who serves DHCP here; it is no component", mac)})
		return
	}
	c := &component{class: look.Class, keys: look.Keys}
	n := Notice{Kind: NoticeSeen, MAC: look.Keys.MAC, UUID: look.Keys.UUID, Stage: look.Class.Stage, Vendor: look.Class.Vendor, Model: look.Class.Model, Serial: look.Class.Serial, Evidence: look.Class.Evidence}
	if !look.Keys.Via.IsZero() {
		n.Via = look.Keys.Via.String()
	}
	c.text = named(n.MAC) + " is " + described(n)
	n.Text = fmt.Sprintf("%s, by DHCP %s", c.text, look.Message)
	if n.Evidence != "" {
		n.Text += " with " + n.Evidence
	}
	l.remember(n.MAC, c)
	l.tell.say(n)
}

func (l *Listener) lldp(frame []byte) {
	n, err := lldp.Parse(frame)
	if err != nil {
		return
	}
	l.mu.Lock()
	l.neighbour = n
	l.mu.Unlock()
	l.take(n.Address)
	text := fmt.Sprintf("at the other end of the cable is %s, chassis %s", n, n.Chassis)
	if n.About != "" {
		text += ": " + n.About
	}
	l.tell.say(Notice{Kind: NoticeNeighbour, MAC: n.MAC, Via: n.Port, Model: n.System, Text: text})
}

func (l *Listener) arp(frame []byte) {
	mac, ip, err := wire.ParseARP(frame)
	if err != nil || !l.take(ip) {
		return
	}
	l.tell.say(Notice{Kind: NoticeInUse, MAC: mac.String(), Address: ip.String(), Text: fmt.Sprintf("%s has the address %s", mac, ip)})
}

// take remembers that somebody has an address. It reports whether there was room.
func (l *Listener) take(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.Is4() || len(l.taken) >= maxComponents && !l.taken[a] {
		return false
	}
	l.taken[a] = true
	return true
}

// remember keeps the last that was seen of a component. What it said of itself in an
// earlier stage is not forgotten.
func (l *Listener) remember(mac string, c *component) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.components[mac]
	if !known && len(l.components) >= maxComponents {
		return
	}
	if known {
		c.keys.Serial = cmp.Or(c.keys.Serial, old.keys.Serial)
		if c.keys.Via.IsZero() {
			c.keys.Via = old.keys.Via
		}
		c.class.Device = cmp.Or(old.class.Device, c.class.Device) // what its firmware said it is, it stays
	}
	l.components[mac] = c
}

// Draft is what a rack file can be drafted from.
func (l *Listener) Draft() rackfile.Draft {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := rackfile.Draft{Interface: l.link.Name, Switch: strings.ToLower(l.neighbour.System), Port: l.neighbour.Port, Taken: slices.Collect(maps.Keys(l.taken))}
	if len(l.link.Addresses) > 0 {
		d.Own = l.link.Addresses[0]
	}
	for mac, c := range l.components {
		s := rackfile.Sighting{MAC: mac, Serial: c.keys.Serial, Via: c.keys.Via, Text: c.text}
		switch {
		case c.class.Stage == rack.StageBMC:
			s.BMC = true
		case c.class.Device == classify.DeviceSwitch || c.class.Stage == rack.StageONIE || c.class.Stage == rack.StageNOS:
			s.Role = rack.ToRSwitch
		case c.class.Device == classify.DeviceFirmware || c.class.Device == classify.DeviceHost:
			s.Role = rack.Server
		}
		d.Seen = append(d.Seen, s)
	}
	// In the order of their ports, as a person would write them down.
	slices.SortFunc(d.Seen, func(a, b rackfile.Sighting) int {
		return cmp.Or(cmp.Compare(a.Via.Device, b.Via.Device), cmp.Compare(len(a.Via.Name), len(b.Via.Name)), cmp.Compare(a.Via.Name, b.Via.Name), cmp.Compare(a.MAC, b.MAC))
	})
	return d
}
