package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rackreach/rackreach/discovery/bmcscan"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
)

const (
	// scanPause is between two scans for BMCs: each is seconds of questions.
	scanPause = 5 * time.Minute
	// askingLimit bounds one question to a BMC or a switch.
	askingLimit = 10 * time.Second
	// guidWorkers bounds the BMCs that are asked who they are at once.
	guidWorkers = 16
)

// bmcs looks for BMCs on the management network and says whose they are.
type bmcs struct {
	d     *Discoverer
	power *power.Client
	macs  *executor // asks switches for their MAC tables
	conn  net.PacketConn
	own   map[netip.Addr]bool

	mu    sync.Mutex
	known map[netip.Addr]bool // BMCs that were bound to a slot: not asked again
}

// scanBMCs scans again and again until ctx ends.
func (d *Discoverer) scanBMCs(ctx context.Context) error {
	dial := wire.Dialer(d.link.Name)
	client, err := power.New(power.Options{Dial: dial, Retries: 1})
	if err != nil {
		return fmt.Errorf("set up the access to BMCs: %w", err)
	}
	defer client.Close()
	conn, err := wire.ListenUDP(d.link.Name)
	if err != nil {
		return err
	}
	asker, err := newAsker(&Options{Rack: d.o.Rack, Platforms: d.o.Platforms, Dial: dial, Credentials: d.o.Credentials, Key: d.o.Key})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	b := &bmcs{d: d, power: client, macs: asker, conn: conn, own: map[netip.Addr]bool{}, known: map[netip.Addr]bool{}}
	for _, p := range d.link.Addresses {
		b.own[p.Addr()] = true
	}
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return conn.Close()
		case <-again.C:
		}
		b.round(ctx)
		again.Reset(d.o.ScanPause)
	}
}

// round is one scan, and a question to each that answered.
func (b *bmcs) round(ctx context.Context) {
	var answers []bmcscan.Answer
	err := bmcscan.Scan(ctx, bmcscan.Options{Conn: b.conn, Range: b.d.o.Rack.Management, Rate: b.d.o.ScanRate, Skip: b.skip}, func(a bmcscan.Answer) { answers = append(answers, a) })
	if err != nil && ctx.Err() == nil {
		b.d.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("%s; the next scan begins in %s", err, b.d.o.ScanPause)})
	}
	ports := b.ports(ctx)
	var wg sync.WaitGroup
	slots := make(chan struct{}, guidWorkers)
	for _, a := range answers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			b.judge(ctx, a, ports)
		})
	}
	wg.Wait()
}

func (b *bmcs) skip(a netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.own[a] || b.known[a]
}

// ports is where the management switch has heard which MAC, if it says so: as its platform
// has it asked, by SNMP or SSH, or by the management API of a simulated one. Why it cannot
// be asked is told once.
func (b *bmcs) ports(ctx context.Context) map[string]rack.Port {
	out := map[string]rack.Port{}
	name := b.d.o.Rack.ManagementSwitchName()
	if !b.d.runs(name) {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, askingLimit)
	defer cancel()
	rows, err := b.macs.MACTable(ctx, name)
	if err != nil {
		if ctx.Err() == nil && b.macs.isNews(name, err.Error()) {
			b.d.tell.say(Notice{Kind: NoticeTrouble, Device: name, Text: fmt.Sprintf("its MAC table, by which BMCs are tied to their ports, cannot be read: %s", err)})
		}
		return out
	}
	for _, o := range rows {
		out[o.MAC] = o.Via
	}
	return out
}

// judge asks a BMC who it is and tells whose it is.
func (b *bmcs) judge(ctx context.Context, a bmcscan.Answer, ports map[string]rack.Port) {
	n := Notice{Kind: NoticeBMC, Address: a.Address.String(), Evidence: "rmcp"}
	if a.Maker != 0 {
		n.Evidence += fmt.Sprintf(" maker=%d", a.Maker)
	}
	keys := rack.Keys{Stage: rack.StageBMC}
	mac := "unknown"
	if m, ok := wire.Station(b.d.link, a.Address); ok {
		mac = m.String()
		keys.MAC, keys.Via = mac, ports[mac]
	}
	said, in, ok := b.ask(ctx, a, &keys)
	if !ok {
		return // it ends
	}
	n.MAC, n.UUID = keys.MAC, keys.UUID
	if !keys.Via.IsZero() {
		n.Via = keys.Via.String()
		said += ", through " + n.Via
	}
	binding, err := b.d.bindBMC(keys, a.Address, in)
	if err != nil {
		n.Text = fmt.Sprintf("a BMC at %s, MAC %s, %s: %s", a.Address, mac, said, err)
		b.d.tell.say(n)
		return
	}
	b.mu.Lock()
	b.known[a.Address] = true
	b.mu.Unlock()
	n.Device, n.By = binding.Device, binding.How
	n.Text = fmt.Sprintf("its BMC answers at %s, MAC %s, %s, by its %s", a.Address, mac, said, binding.How)
	if d, ok := b.d.o.Rack.Device(binding.Device); ok && d.BMC.Address != a.Address {
		n.Text += fmt.Sprintf("; the rack file says %s: it takes that by DHCP, or set it there", d.BMC.Address)
	}
	b.d.tell.say(n)
}

// ask asks a BMC for its GUID. in says that it let us in with the login of the slot
// that the rack file gives its address to. A stranger is never logged in to: what is
// sent for that would let it guess the password. ok is false when ctx ended.
func (b *bmcs) ask(ctx context.Context, a bmcscan.Answer, keys *rack.Keys) (said string, in, ok bool) {
	said = "which does not say who it is"
	if !a.IPMI {
		return said, false, true
	}
	ctx, cancel := context.WithTimeout(ctx, askingLimit)
	defer cancel()
	t, login := b.target(a.Address)
	if login {
		info, err := b.power.Login(ctx, t)
		switch {
		case err == nil:
			keys.UUID = info.GUID
			for _, f := range bmcFindings(ctx, b.power, t) {
				b.d.tell.say(Notice{Kind: NoticeAlarm, Device: t.Device, Address: a.Address.String(), Text: fmt.Sprintf("the BMC at %s: %s; %s", a.Address, f.What, f.Next)})
			}
			return "GUID " + info.GUID + ", which let us in", true, true
		case errors.Is(err, power.ErrBusy):
			said = "which has no session free for us"
		case errors.Is(err, power.ErrLogin):
			said = "which refuses the login of the rack file"
		}
	}
	guid, err := b.power.Probe(ctx, power.Target{Device: t.Device, Address: a.Address})
	if err == nil {
		keys.UUID = guid
		said = "GUID " + guid
	}
	return said, false, !errors.Is(err, power.ErrCanceled)
}

// target is a BMC at an address, and whether there is a login for it: the rack file
// gives that address to a slot, and its credentials are known.
func (b *bmcs) target(a netip.Addr) (t power.Target, login bool) {
	t = power.Target{Device: "a BMC", Address: a}
	for i := range b.d.o.Rack.Devices {
		d := &b.d.o.Rack.Devices[i]
		if d.BMC == nil || d.BMC.Address != a {
			continue
		}
		t.Device = d.Name
		if b.d.o.Credentials != nil {
			if user, password, err := b.d.o.Credentials(d.BMC.Credentials); err == nil {
				t.User, t.Password, login = user, password, true
			}
		}
	}
	return t, login
}
