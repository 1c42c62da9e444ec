package rackagent

import (
	"context"
	"fmt"
	"sync"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/deviceapi"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
)

// executor carries out the actions of steps, and the scans, over the wires.
type executor struct {
	rack        *rack.Rack
	run         string
	credentials func(reference string) (user, password string, err error)
	power       *power.Client
	device      *deviceapi.Client
	publish     func(rack.Observation)

	mu      sync.Mutex
	tickets map[string]string // last ticket of a device, also once it is closed
}

var (
	_ actors.Executor = (*executor)(nil)
	_ actors.Scanner  = (*executor)(nil)
)

// remember keeps the last ticket of a device for its configuration.
func (x *executor) remember(device, ticket string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tickets[device] = ticket
}

// Do implements actors.Executor.
func (x *executor) Do(ctx context.Context, job actors.Job) error {
	d, ok := x.rack.Device(job.Device)
	if !ok {
		return fmt.Errorf("%s is not a device of rack %s", job.Device, x.rack.Name)
	}
	switch job.Step.Action {
	case rack.PushConfig:
		config, err := x.config(d)
		if err != nil {
			return err
		}
		return x.device.Push(ctx, d.Address, config)
	case rack.VerifyDevice:
		return x.verify(ctx, d, job.Image)
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
		}
	case rack.BootPXE:
		err = x.power.BootPXE(ctx, target)
	case rack.PowerOn:
		err = x.power.PowerOn(ctx, target)
	case rack.PowerCycle:
		err = x.power.PowerCycle(ctx, target)
	default:
		err = fmt.Errorf("no way to carry out the action %q: mend the platform %s", job.Step.Action, d.Platform)
	}
	return err
}

func (x *executor) config(d *rack.Device) ([]byte, error) {
	x.mu.Lock()
	ticket := x.tickets[d.Name]
	x.mu.Unlock()
	return deviceapi.NewConfig(x.rack, d.Name, x.run, ticket)
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
	return got.Check(deviceapi.Receipt{Rack: x.rack.Name, Device: d.Name, Run: x.run, Digest: image.Digest, Config: deviceapi.ConfigDigest(config)})
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

// MACTable implements actors.Scanner.
func (x *executor) MACTable(ctx context.Context, device string) ([]rack.Observation, error) {
	d, ok := x.rack.Device(device)
	if !ok {
		return nil, fmt.Errorf("%s is not a device of rack %s", device, x.rack.Name)
	}
	return x.device.MACTable(ctx, d.Address, device)
}
