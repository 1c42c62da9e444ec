package rackagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
)

// CheckResult is how a check ended.
type CheckResult string

// The results.
const (
	CheckOK      CheckResult = "ok"
	CheckNote    CheckResult = "note"    // it will do, but somebody may want to know
	CheckProblem CheckResult = "problem" // the rack cannot be begun like this
)

// Check is one thing that was looked at before a rack is begun.
type Check struct {
	Name   string      `json:"name"`
	Result CheckResult `json:"result"`
	Text   string      `json:"text"`
	Next   string      `json:"next,omitempty"` // what to do
}

// PreflightOptions are what is looked at.
type PreflightOptions struct {
	Rack        *rack.Rack // validated
	Platforms   map[string]rack.Platform
	Allow       []string // as in DiscoverOptions
	State       string   // the state directory; it need not exist yet
	Hear        time.Duration
	Credentials func(reference string) (user, password string, err error)
	Power       power.Options
	// TryDefaults lets the login that its maker delivers it with be tried at the BMC of
	// the management switch, once: a failure that may count towards a lock of the account.
	TryDefaults bool
	Now         func() time.Time // nil: time.Now
}

// Free disk space that a rack needs besides its images: journal and leases of years.
const minFree = 1 << 30 // bytes

// notBefore is when the newest thing in this program was made: a clock that is older
// is wrong.
var notBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Preflight looks at this machine and at what it is cabled to. It changes nothing;
// what is sent is foreign.Look's question and one login to the BMC of the management
// switch. Each result is told as soon as it is known.
func Preflight(ctx context.Context, o PreflightOptions, tell func(Check)) {
	p := &preflight{o: o, tell: tell}
	if p.o.Now == nil {
		p.o.Now = time.Now
	}
	if p.o.Hear == 0 {
		p.o.Hear = foreign.DefaultWindow
	}
	p.capabilities()
	link := p.link()
	p.ports(link)
	p.disk()
	p.clock()
	if link != nil {
		p.foreign(ctx, link)
	}
	p.bmc(ctx)
	for _, s := range rack.Unmarked(p.o.Rack, p.o.Platforms) {
		p.say(CheckNote, "option 82", "configure DHCP relay or snooping with option 82 on these switches, as docs/dhcp.md lists the spellings, or use a platform that does", "%s", s)
	}
}

type preflight struct {
	o    PreflightOptions
	tell func(Check)
}

func (p *preflight) ok(name, format string, args ...any) {
	p.tell(Check{Name: name, Result: CheckOK, Text: fmt.Sprintf(format, args...)})
}

func (p *preflight) say(result CheckResult, name, next, format string, args ...any) {
	p.tell(Check{Name: name, Result: result, Text: fmt.Sprintf(format, args...), Next: next})
}

// capabilities looks at what the process may do.
func (p *preflight) capabilities() {
	missing, err := lacking()
	if err != nil {
		p.say(CheckProblem, "capabilities", "run it on the machine that is cabled to the rack", "%s", err)
		return
	}
	if len(missing) > 0 {
		p.say(CheckProblem, "capabilities", "run it as root; for a service, deploy/systemd has a unit that grants them", "this process lacks %s", strings.Join(missing, " and "))
		return
	}
	p.ok("capabilities", "frames and ports below 1024 are allowed")
}

// link looks at the interface. nil: there is none.
func (p *preflight) link() *wire.Link {
	const name = "interface"
	link, err := wire.Inspect(p.o.Rack.Agent.Interface)
	if err != nil {
		p.say(CheckProblem, name, "name the interface that is cabled to the rack in agent.interface of the rack file", "%s", err)
		return nil
	}
	fit := true
	for _, t := range link.Unfit(p.o.Rack.Management) {
		result := CheckProblem
		if t.Risk && slices.Contains(p.o.Allow, link.Name) {
			result = CheckNote
		}
		fit = fit && result != CheckProblem
		p.say(result, name, t.Next, "%s", t.What)
	}
	for _, a := range link.Addresses {
		if who := given(p.o.Rack, a.Addr()); who != "" {
			fit = false
			p.say(CheckProblem, name, "take another one", "interface %s has the address %s, which the rack file gives to %s", link.Name, a.Addr(), who)
		}
	}
	if _, ok := link.In(p.o.Rack.Data); !ok {
		p.say(CheckNote, name, fmt.Sprintf("ip addr add ADDRESS/%d dev %s, unless a router joins the two networks", p.o.Rack.Data.Bits(), link.Name),
			"interface %s has no address in the data network %s: servers can be given addresses there, but cannot reach this machine", link.Name, p.o.Rack.Data)
	}
	if fit {
		own, _ := link.In(p.o.Rack.Management)
		p.ok(name, "%s has a link, and the address %s in the management network %s", link.Name, own, p.o.Rack.Management)
	}
	return link
}

// ports looks whether the ports of the services are free, as Line opens them: at every
// address, of one interface. Without an interface nothing can be said of them.
func (p *preflight) ports(link *wire.Link) {
	if link == nil {
		return // said already
	}
	if own, ok := link.In(p.o.Rack.Management); ok {
		i, err := wire.Open(link.Name, wire.Options{Address: own})
		p.port("udp", wire.ServerPort, "DHCP", CheckProblem, err, i)
		if p.o.Rack.DHCP.Mode == rack.DHCPProxy {
			i, err := wire.Open(link.Name, wire.Options{Address: own, Port: wire.ProxyPort})
			p.port("udp", wire.ProxyPort, "the boot server of DHCP", CheckProblem, err, i)
		}
	}
	tftp, err := wire.ListenPacket(link.Name, portTFTP)
	p.port("udp", portTFTP, "TFTP", CheckProblem, err, tftp)
	web, err := wire.Listen(link.Name, portHTTP)
	p.port("tcp", portHTTP, "HTTP", CheckProblem, err, web)
	// A rack is imaged without the logs of its devices all the same.
	logs, err := wire.ListenPacket(link.Name, portSyslog)
	p.port("udp", portSyslog, "the logs of devices", CheckNote, err, logs)
}

// port says whether a port could be opened, and gives it back. taken is how much it
// matters that it could not.
func (p *preflight) port(protocol string, port uint16, service string, taken CheckResult, err error, opened interface{ Close() error }) {
	name := fmt.Sprintf("port %s/%d", protocol, port)
	if err == nil {
		if err = opened.Close(); err == nil {
			p.ok(name, "is free for %s", service)
			return
		}
	}
	needs, next := "needs it", "stop it before rackreach is started"
	if taken != CheckProblem {
		needs, next = "want it", next+", or do without them"
	}
	switch holders := wire.Holders(protocol, port); {
	case errors.As(err, new(*wire.TakenError)):
		p.say(taken, name, next, "%s", err)
	case len(holders) > 0:
		p.say(taken, name, next, "%s %s, and it is held by %s", service, needs, strings.Join(holders, ", "))
	default:
		p.say(taken, name, "mend that before rackreach is started", "%s %s, and it cannot be opened: %s", service, needs, err)
	}
}

// disk looks whether the state directory can be written, and how much room it has.
func (p *preflight) disk() {
	const name = "state directory"
	at := p.o.State
	for { // the nearest directory that is there
		if info, err := os.Stat(at); err == nil {
			if !info.IsDir() {
				p.say(CheckProblem, name, "name another one with --state", "%s is not a directory", at)
				return
			}
			break
		}
		up := filepath.Dir(at)
		if up == at {
			break
		}
		at = up
	}
	f, err := os.CreateTemp(at, ".rackreach-preflight-*")
	if err != nil {
		p.say(CheckProblem, name, "name another one with --state, or give this user the right to write there", "%s cannot be written: %s", p.o.State, err)
		return
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		p.say(CheckProblem, name, "look at the file system", "%s: %s", p.o.State, err)
		return
	}
	free, err := freeSpace(at)
	switch {
	case err != nil:
		p.say(CheckNote, name, "look at it yourself", "the room in %s is not known: %s", p.o.State, err)
	case free < minFree:
		p.say(CheckProblem, name, "make room: journal and leases must never fail to be written", "%s has %d MiB left, and should have %d", p.o.State, free>>20, minFree>>20)
	default:
		p.ok(name, "%s has %d GiB left", p.o.State, free>>30)
	}
}

// clock looks whether the time can be right.
func (p *preflight) clock() {
	now := p.o.Now()
	synced, err := clockSynchronised()
	switch {
	case now.Before(notBefore):
		p.say(CheckProblem, "clock", "set it, or start a time service: events and certificates carry the time", "the clock says %s, which has been over for long", now.UTC().Format(time.RFC3339))
	case err != nil:
		p.say(CheckNote, "clock", "compare it yourself", "the clock says %s; whether it is synchronised is not known: %s", now.UTC().Format(time.RFC3339), err)
	case !synced:
		p.say(CheckNote, "clock", "start a time service such as chrony; certificates are refused when clocks differ", "the clock says %s, and the kernel says that nothing synchronises it", now.UTC().Format(time.RFC3339))
	default:
		p.ok("clock", "%s, synchronised", now.UTC().Format(time.RFC3339))
	}
}

// foreign listens for other DHCP servers.
func (p *preflight) foreign(ctx context.Context, link *wire.Link) {
	const name = "other DHCP servers"
	if !link.Up || !link.Carrier || len(link.MAC) != 6 {
		return // said already
	}
	found, err := foreign.Look(ctx, link, p.o.Hear)
	if err != nil {
		p.say(CheckProblem, name, "see capabilities", "nothing can be heard: %s", err)
		return
	}
	p.heard(link, found)
}

// heard says of the servers that were heard what Line.judge will say of them; the agents
// of other racks, which a coordinator names, are not known here.
func (p *preflight) heard(link *wire.Link, found []foreign.Server) {
	const name = "other DHCP servers"
	proxy := p.o.Rack.DHCP.Mode == rack.DHCPProxy
	found = present(link, found)
	for _, s := range found {
		if err := shares(link, s); err != nil {
			p.say(CheckProblem, name, "find it by its MAC in the table of the switch", "%s", err)
			continue
		}
		if proxy {
			p.ok(name, "%s: it gives the addresses (dhcp.mode is proxy)", s)
			continue
		}
		result := CheckProblem
		if Foreign([]foreign.Server{s}, link.Name, p.o.Allow) == nil {
			result = CheckNote
		}
		p.say(result, name, fmt.Sprintf("switch it off there, or --allow %s if it may stay", s.Address), "%s", s)
	}
	switch {
	case len(found) == 0 && proxy:
		p.say(CheckNote, name, "see that the site's DHCP server is reached from here, or leave dhcp.mode: proxy out of the rack file", "none was heard within %s, and the rack file leaves addresses to one of the site; it may know only the devices of the rack", p.o.Hear)
	case len(found) == 0:
		p.ok(name, "none was heard within %s", p.o.Hear)
	}
}

// bmc logs in to the BMC of the management switch and reads who it is.
func (p *preflight) bmc(ctx context.Context) {
	const name = "management BMC"
	d, ok := p.o.Rack.Device(p.o.Rack.ManagementSwitchName())
	if !ok || d.BMC == nil {
		return
	}
	user, password, err := p.o.Credentials(d.BMC.Credentials)
	if err != nil {
		p.say(CheckProblem, name, "export it, in the form user:password", "the credentials of the BMC of %s: %s", d.Name, err)
		return
	}
	client, err := power.New(p.o.Power)
	if err != nil {
		p.say(CheckProblem, name, "this is a bug: report it", "%s", err)
		return
	}
	defer client.Close()
	target := power.Target{Device: d.Name, Address: d.BMC.Address, User: user, Password: password}
	info, err := client.Login(ctx, target)
	switch {
	case errors.Is(err, power.ErrSilent):
		p.say(CheckNote, name, "if it takes its address by DHCP, rackreach discover gives it one; if not, check address and cable", "%s", err)
	case err != nil:
		p.say(CheckProblem, name, "see above; nothing was changed", "%s", err)
	default:
		on := "off"
		if info.PowerOn {
			on = "on"
		}
		p.ok(name, "%s at %s let us in: GUID %s, maker %d, host %s", d.Name, d.BMC.Address, info.GUID, info.ManufacturerID, on)
		p.findings(ctx, client, target)
		if p.o.TryDefaults {
			p.defaults(ctx, client, target, info)
		}
	}
}

// defaults tries the login that the maker of a BMC delivers it with.
func (p *preflight) defaults(ctx context.Context, client *power.Client, t power.Target, i power.Info) {
	const name = "default login"
	if _, ours := power.Delivered(t.User, t.Password); ours {
		return // it was told already
	}
	list := power.Defaults(i)
	if len(list) == 0 {
		p.say(CheckNote, name, "", "no login was tried at %s: it is not known what maker %d delivers", t.Device, i.ManufacturerID)
		return
	}
	f, err := client.TryLogins(ctx, t, list)
	switch {
	case err != nil:
		p.say(CheckNote, name, "", "%s", err)
	case f != nil:
		p.say(CheckProblem, name, f.Next, "%s: %s", t.Device, f.What)
	default:
		p.ok(name, "%s refuses the login that %s delivers", t.Device, i.Maker())
	}
}

// findings are what about the BMC's security somebody ought to know. No login is tried
// but the one of the rack file: a BMC may lock the account.
func (p *preflight) findings(ctx context.Context, client *power.Client, t power.Target) {
	const name = "management BMC"
	for _, f := range bmcFindings(ctx, client, t) {
		p.say(CheckNote, name, f.Next, "%s: %s", t.Device, f.What)
	}
}

// bmcFindings looks for weaknesses of a BMC that let us in. What cannot be found out is
// no finding.
func bmcFindings(ctx context.Context, client *power.Client, t power.Target) (out []power.Finding) {
	if f, ok := power.Delivered(t.User, t.Password); ok {
		out = append(out, f)
	}
	if f, err := client.SuiteZero(ctx, t); err == nil && f != nil {
		out = append(out, *f)
	}
	return out
}
