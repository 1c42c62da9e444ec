package sim

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/rackreach/rackreach/internal/rack"
)

// protocol is what a packet carries, for the record.
type protocol int

const (
	protoDHCP protocol = iota
	protoTFTP
	protoHTTP
	protoIPMI
	protocols // how many
)

func (p protocol) String() string { return [protocols]string{"dhcp", "tftp", "http", "ipmi"}[p] }

// direction of a packet, seen from the device.
type direction int

const (
	toDevice direction = iota
	fromDevice
)

func (d direction) String() string { return [2]string{"to-device", "from-device"}[d] }

// end is one end of a cable: a network interface of a device.
type end struct {
	device  string
	network rack.Network
	plug    atomic.Pointer[rack.Port] // the port that its cable is plugged into; zero: the agent's own cable, which is always open
	mac     net.HardwareAddr          // of the interface
	open    atomic.Bool               // a path of forwarding switches leads to the agent
	hops    []hop                     // that path, from the agent; guarded by fabric.mu
	seen    [protocols][2]atomic.Bool
}

func (e *end) near() rack.Port { return *e.plug.Load() }

func (e *end) direct() bool { return e.near().IsZero() }

// hop is a switch on a path and the port by which the path leaves it.
type hop struct{ device, port string }

// switchState is what a switch does with packets.
type switchState struct {
	mac        string // of its own uplink, heard by the switch above
	forwarding bool
	ports      []string         // between which it forwards, as its configuration says
	heard      map[hearing]bool // stations since it forwards; guarded by fabric.macMu
	order      []hearing        // the same, in order
}

type hearing struct{ port, mac string }

// fabric lets packets through or drops them. A path is open when every switch
// on it forwards and has both of its ports in its configuration.
type fabric struct {
	rec *record
	top topology

	mu       sync.RWMutex
	switches map[string]*switchState
	ends     []*end
	holders  map[netip.Addr]*end     // who holds an address now
	services map[*end]netip.AddrPort // real TCP address of an end's device API
	shells   map[*end]netip.AddrPort // and of its SSH server
	bmcs     map[*end]netip.AddrPort // real UDP address of an end's BMC
	conns    map[*conn]struct{}      // established TCP connections
	changed  chan struct{}           // closed and replaced at every change
	dropSeen map[[2]string]bool      // device, reason
	dropMu   sync.Mutex
	macMu    sync.Mutex

	dropped, packets, bytes atomic.Int64
}

func newFabric(r *rack.Rack, rec *record) *fabric {
	f := &fabric{rec: rec, top: newTopology(r), switches: map[string]*switchState{}, holders: map[netip.Addr]*end{},
		services: map[*end]netip.AddrPort{}, shells: map[*end]netip.AddrPort{}, bmcs: map[*end]netip.AddrPort{}, conns: map[*conn]struct{}{},
		changed: make(chan struct{}), dropSeen: map[[2]string]bool{}}
	for i := range r.Devices {
		if d := &r.Devices[i]; d.Role.IsSwitch() {
			f.switches[d.Name] = &switchState{mac: derivedMAC(r.Name, d.Name, "data-0").String(), heard: map[hearing]bool{}}
		}
	}
	return f
}

// attach adds an end. All ends are attached before the first packet.
func (f *fabric) attach(e *end) *end {
	f.ends = append(f.ends, e)
	e.open.Store(e.direct())
	return e
}

// forward makes a switch forward between ports, and only those.
func (f *fabric) forward(device string, ports []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.switches[device]
	if s == nil {
		return
	}
	if !s.forwarding {
		f.rec.add(kindForwardingStarted, device, nil, detail{"ports": strconv.Itoa(len(ports))})
	}
	s.forwarding, s.ports = true, slices.Clone(ports)
	f.recompute()
}

// block ends a switch's forwarding: connections through it are reset.
func (f *fabric) block(device string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.switches[device]
	if s == nil || !s.forwarding {
		return
	}
	s.forwarding, s.ports = false, nil
	f.macMu.Lock()
	s.heard, s.order = map[hearing]bool{}, nil
	f.macMu.Unlock()
	f.recompute()
	f.rec.add(kindForwardingStopped, device, nil, nil)
}

// recompute opens and closes ends after a change of a switch. f.mu is held.
func (f *fabric) recompute() {
	paths := f.top.paths(func(device string) ([]string, bool) {
		if s := f.switches[device]; s != nil {
			return s.ports, s.forwarding
		}
		return nil, false
	})
	for _, e := range f.ends {
		if e.direct() {
			continue
		}
		hops, ok := paths[e.near()]
		e.hops = hops
		e.open.Store(ok)
	}
	for c := range f.conns {
		if !c.end.open.Load() {
			delete(f.conns, c)
			c.reset()
		}
	}
	f.notify()
}

// speaks reports whether a switch runs its image with its configuration.
func (f *fabric) speaks(device string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.switches[device]
	return s != nil && s.forwarding
}

// change is closed at the next change.
func (f *fabric) change() <-chan struct{} {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.changed
}

// notify wakes whoever waits for a change. f.mu is held.
func (f *fabric) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// pass reports whether a packet of an end gets through now; if not, it is
// counted as dropped.
func (f *fabric) pass(e *end, p protocol, d direction) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.passLocked(e, p, d)
}

func (f *fabric) passLocked(e *end, p protocol, d direction) bool {
	if !e.open.Load() {
		f.drop(e.device, "no-path", p, d)
		return false
	}
	f.packets.Add(1)
	if !e.seen[p][d].Swap(true) {
		f.rec.add(kindPacket, e.device, via(e.hops), detail{"protocol": p.String(), "direction": d.String(), "network": string(e.network)})
	}
	if d == fromDevice {
		f.learn(e)
	}
	return true
}

// drop counts a packet that went nowhere.
func (f *fabric) drop(device, reason string, p protocol, d direction) {
	f.dropped.Add(1)
	f.dropMu.Lock()
	first := !f.dropSeen[[2]string{device, reason}]
	f.dropSeen[[2]string{device, reason}] = true
	f.dropMu.Unlock()
	if first {
		f.rec.add(kindDropped, device, nil, detail{"reason": reason, "protocol": p.String(), "direction": d.String()})
	}
}

// learn enters a station into the MAC tables on its path: the switch at its
// port hears the station itself, those above hear the switch below them, which
// relays and routes what comes from its ports.
func (f *fabric) learn(e *end) {
	f.macMu.Lock()
	defer f.macMu.Unlock()
	for i, h := range e.hops {
		mac := e.mac.String()
		if i+1 < len(e.hops) {
			mac = f.switches[e.hops[i+1].device].mac
		}
		if s, k := f.switches[h.device], (hearing{h.port, mac}); !s.heard[k] {
			s.heard[k] = true
			s.order = append(s.order, k)
		}
	}
}

// stations is the MAC table of a switch.
func (f *fabric) stations(device string) []hearing {
	f.macMu.Lock()
	defer f.macMu.Unlock()
	return slices.Clone(f.switches[device].order)
}

// hold gives an address to an end; false when another device holds it.
func (f *fabric) hold(a netip.Addr, e *end) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.holders[a]; h != nil && h.device != e.device {
		return false
	}
	f.holders[a] = e
	f.notify()
	return true
}

// held reports whether another device holds an address, as an ARP probe does.
func (f *fabric) held(a netip.Addr, e *end) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	h := f.holders[a]
	return h != nil && h.device != e.device
}

// release takes every address and service from an end: its host went down.
func (f *fabric) release(e *end) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for a, h := range f.holders {
		if h == e {
			delete(f.holders, a)
		}
	}
	delete(f.services, e)
	delete(f.shells, e)
	for c := range f.conns {
		if c.end == e {
			delete(f.conns, c)
			c.reset()
		}
	}
	f.notify()
}

// offer says where an end's device API and its SSH server really listen.
func (f *fabric) offer(e *end, api, shell netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[e], f.shells[e] = api, shell
	f.notify()
}

func via(hops []hop) []string {
	var out []string
	for _, h := range hops {
		out = append(out, h.device)
	}
	return out
}

// derivedMAC is a locally administered address that depends on names only.
func derivedMAC(rackName, device, what string) net.HardwareAddr {
	sum := digestOf(rackName, device, what)
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// derivedGUID is the system GUID of a device, in the order of bytes in which its
// BMC returns it and its firmware sends it.
func derivedGUID(rackName, device string) [16]byte {
	var g [16]byte
	sum := digestOf(rackName, device, "guid")
	copy(g[:], sum[:])
	g[6], g[8] = 0x40|g[6]&0x0f, 0x80|g[8]&0x3f // RFC 4122 §4.4: a version-4 UUID
	return g
}

func hexOf(b []byte) string { return "sha256:" + hex.EncodeToString(b) }

// resetAll resets every connection.
func (f *fabric) resetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		delete(f.conns, c)
		c.reset()
	}
	f.notify()
}
