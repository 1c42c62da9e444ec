package rackagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/rackreach/rackreach/actors"
	dhcprelay "github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/deviceapi"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/snmp"
	"github.com/rackreach/rackreach/internal/ssh"
	"github.com/rackreach/rackreach/internal/web"
)

// executor carries out the actions of steps, and the scans, over the wires.
type executor struct {
	rack        *rack.Rack
	images      map[string]rack.Image
	credentials func(reference string) (user, password string, err error)
	power       *power.Client
	device      *deviceapi.Client
	shell       *shell
	snmp        *snmp.Client
	ports       *dhcprelay.Ports
	logger      *slog.Logger
	told        map[string][]string // by device: why its ports cannot be asked for, as it was logged; under mu
	publish     func(rack.Observation)
	note        func(*actors.Note)
	dial        func(ctx context.Context, network, address string) (net.Conn, error)
	arp         func(ctx context.Context, address netip.Addr) (net.HardwareAddr, error) // nil: there is none
	web         *web.Client
	webAsking   *web.Client // pins nothing

	mu      sync.Mutex
	binder  *rack.Binder
	run     string            // id of the run
	tickets map[string]string // last ticket of a device, also once it is closed
}

var (
	_ actors.Executor = (*executor)(nil)
	_ actors.Scanner  = (*executor)(nil)
	_ actors.Lamp     = (*executor)(nil)
)

// remember keeps the last ticket of each device: its configuration carries it.
func (x *executor) remember(o actors.Offer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.binder, x.run, x.tickets = o.Binder, o.Run, make(map[string]string, len(o.Tickets))
	for _, t := range o.Tickets {
		x.tickets[t.Device] = t.ID
	}
}

// ticketOf is the last ticket of a device, or "", and the id of the run.
func (x *executor) ticketOf(device string) (run, ticket string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.run, x.tickets[device]
}

// Do implements actors.Executor.
func (x *executor) Do(ctx context.Context, job actors.Job) error {
	d, ok := x.rack.Device(job.Device)
	if !ok {
		return fmt.Errorf("%s is not a device of rack %s", job.Device, x.rack.Name)
	}
	switch job.Step.Action {
	case rack.PushConfig:
		if job.Step.SSH != nil {
			return x.shell.configure(ctx, d, x.life(d), job.Step.SSH)
		}
		return x.push(ctx, d, job.Repeat)
	case rack.BootInstaller:
		if job.Step.SSH != nil {
			return x.shell.bootInstaller(ctx, d, x.life(d), job.Step.SSH, job.Overwrites)
		}
		return x.device.BootInstaller(ctx, d.Address, job.Overwrites)
	case rack.VerifyDevice:
		if job.Step.SSH != nil {
			return x.shell.verify(ctx, d, x.life(d), job.Step.SSH)
		}
		return x.verify(ctx, d, job.Image)
	case rack.AwaitPort:
		return x.awaitPort(ctx, d, &job.Step)
	case rack.AwaitARP:
		return x.awaitARP(ctx, d, &job.Step)
	case rack.Request:
		return x.ask(ctx, d, &job.Step)
	}
	target, err := x.target(d)
	if err != nil {
		return err
	}
	switch job.Step.Action {
	case rack.BMCLogin:
		var info power.Info
		if info, err = x.power.Login(ctx, target); err == nil {
			// Its GUID tells later whose firmware asks for an address.
			x.publish(bmcSeen(target, info.GUID))
			x.note(bmcFound(target, info))
			x.weaknesses(ctx, target)
		}
	case rack.BootPXE:
		err = x.power.BootPXE(ctx, target)
	case rack.PowerOn:
		err = x.power.PowerOn(ctx, target)
	case rack.PowerCycle:
		if job.Step.Phase == rack.Discovery {
			err = x.inUse(ctx, d, target, job.Overwrites)
		}
		if err == nil {
			err = x.power.PowerCycle(ctx, target)
		}
	default:
		err = fmt.Errorf("no way to carry out the action %q: mend the platform %s", job.Step.Action, d.Platform)
	}
	return err
}

// weaknessLimit bounds the question for weaknesses of a BMC: the login was all that the step
// is about.
const weaknessLimit = 5 * time.Second

// weaknesses tells of those that a BMC that let us in has. No other login is tried: it might
// lock the account.
func (x *executor) weaknesses(ctx context.Context, t power.Target) {
	ctx, cancel := context.WithTimeout(ctx, weaknessLimit)
	defer cancel()
	for _, f := range bmcFindings(ctx, x.power, t) {
		x.note(&actors.Note{Kind: rack.WeaknessFound, Device: t.Device, Detail: rack.Detail{Reason: "its BMC: " + f.What + "; " + f.Next}})
	}
}

// life is which job a device lives by.
func (x *executor) life(d *rack.Device) config.Life {
	run, ticket := x.ticketOf(d.Name)
	return config.Life{Run: run, Ticket: ticket, Image: x.images[d.Name]}
}

// receipt reads the receipt of a device, over whichever way its platform speaks.
func (x *executor) receipt(ctx context.Context, d *rack.Device) (deviceapi.Receipt, error) {
	if verify := x.shell.speaks(d); verify != nil {
		return x.shell.receipt(ctx, d, x.life(d), verify)
	}
	return x.device.Receipt(ctx, d.Address)
}

// push configures a device. Of one that an earlier life of the agent may have
// configured already the receipt is read first.
func (x *executor) push(ctx context.Context, d *rack.Device, repeat bool) error {
	config, err := x.config(d)
	if err != nil {
		return err
	}
	if repeat {
		if got, err := x.device.Receipt(ctx, d.Address); err == nil && got.Config == deviceapi.ConfigDigest(config) {
			return nil
		}
	}
	return x.device.Push(ctx, d.Address, config)
}

func (x *executor) config(d *rack.Device) ([]byte, error) {
	run, ticket := x.ticketOf(d.Name)
	return deviceapi.NewConfig(x.rack, d.Name, run, ticket)
}

// Receipt implements actors.Scanner. The receipt of a device whose installer
// knows its job names the ticket; one that ONIE left names the image only, and
// counts because the device was in ONIE before.
func (x *executor) Receipt(ctx context.Context, device string) (rack.Observation, error) {
	d, ok := x.rack.Device(device)
	if !ok {
		return rack.Observation{}, fmt.Errorf("%s is not a device of rack %s", device, x.rack.Name)
	}
	got, err := x.receipt(ctx, d)
	if err != nil {
		return rack.Observation{}, err
	}
	o := rack.Observation{Source: rack.FromReceipt, Device: device, Address: d.Address.String(), Proves: rack.ReceiptFound}
	run, ticket := x.ticketOf(device)
	switch {
	case got.Run != run && got.Run != "" || ticket == "": // nothing was done to this hardware in this run
		o.Proves, o.Holds = rack.ReceiptForeign, bounded(got.Holds())
		o.Message = "it holds " + o.Holds
	case got.Digest != x.images[device].Digest || got.Run != "" && got.Ticket != ticket: // it is installed at this moment
		return rack.Observation{}, fmt.Errorf("%s holds the receipt of another job of this run: ticket %.80q", device, got.Ticket)
	}
	return o, nil
}

// maxHolds bounds what a device says that it holds, in bytes, as the boot
// services do for a report.
const maxHolds = 200

// bounded is a device's own word in printable characters.
func bounded(s string) string {
	s = strconv.QuoteToASCII(s)
	s = s[1 : len(s)-1]
	return s[:min(len(s), maxHolds)]
}

// askLimit bounds the question whether a running host is in use: a system
// answers at once, firmware never.
const askLimit = 2 * time.Second

// askShellLimit is the same over SSH: a server may ask a name server for our name first.
const askShellLimit = 40 * time.Second

// answers reports whether an error of a question means that something answered, though
// not what it was asked.
func answers(err error) bool {
	return errors.Is(err, ssh.ErrLogin) || errors.Is(err, ssh.ErrSlow) || errors.Is(err, ssh.ErrHostKey) || errors.Is(err, ssh.ErrLost) || errors.Is(err, errUnreadable)
}

// inUse refuses to power-cycle a host that runs a system which this run did not
// install, unless its job may overwrite that.
func (x *executor) inUse(ctx context.Context, d *rack.Device, t power.Target, overwrites string) error {
	if overwrites != "" {
		return nil
	}
	if info, err := x.power.Login(ctx, t); err != nil || !info.PowerOn {
		return err
	}
	limit := askLimit
	if x.shell.speaks(d) != nil {
		limit = askShellLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o, err := x.Receipt(ctx, d.Name)
	if answers(err) {
		return fmt.Errorf("%w, so it is not power-cycled: a system answers, and cannot be asked what it holds: %w: correct access: in the rack file, or power it off by hand, and retry", actors.ErrInUse, err)
	}
	if err != nil || o.Proves != rack.ReceiptForeign {
		return nil // nobody answers: it runs nothing that was installed by a rackreach
	}
	x.publish(o)
	return fmt.Errorf("%w, so it is not power-cycled: %s", actors.ErrInUse, o.Message)
}

// verify compares what the device says of itself with what it was given.
func (x *executor) verify(ctx context.Context, d *rack.Device, image rack.Image) error {
	config, err := x.config(d)
	if err != nil {
		return err
	}
	got, err := x.device.Receipt(ctx, d.Address)
	if err != nil {
		return err
	}
	run, _ := x.ticketOf(d.Name)
	return got.Check(deviceapi.Receipt{Rack: x.rack.Name, Device: d.Name, Run: run, Digest: image.Digest, Config: deviceapi.ConfigDigest(config)})
}

func (x *executor) target(d *rack.Device) (power.Target, error) {
	if d.BMC == nil {
		return power.Target{}, fmt.Errorf("%s has no BMC in the rack file: add bmc: to it, or use a platform without power steps", d.Name)
	}
	user, password, err := x.credentials(d.BMC.Credentials)
	if err != nil {
		return power.Target{}, fmt.Errorf("credentials of the BMC of %s: %w", d.Name, err)
	}
	return power.Target{Device: d.Name, Address: d.BMC.Address, User: user, Password: password}, nil
}

// Light implements actors.Lamp.
func (x *executor) Light(ctx context.Context, device string, on bool) error {
	d, ok := x.rack.Device(device)
	if !ok {
		return fmt.Errorf("%s is not a device of rack %s", device, x.rack.Name)
	}
	target, err := x.target(d)
	if err != nil {
		return err
	}
	return x.power.Identify(ctx, target, on)
}

// ProbeBMC implements actors.Scanner.
func (x *executor) ProbeBMC(ctx context.Context, device string) (rack.Observation, error) {
	d, ok := x.rack.Device(device)
	if !ok {
		return rack.Observation{}, fmt.Errorf("%s is not a device of rack %s", device, x.rack.Name)
	}
	target, err := x.target(d)
	if err != nil {
		return rack.Observation{}, err
	}
	guid, err := x.power.Probe(ctx, target)
	if err != nil {
		return rack.Observation{}, err
	}
	return bmcSeen(target, guid), nil
}

func bmcSeen(t power.Target, guid string) rack.Observation {
	return rack.Observation{Source: rack.FromBMC, Device: t.Device, UUID: guid, Address: t.Address.String()}
}
