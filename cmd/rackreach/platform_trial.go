package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/simulate"
)

// trial is one rack in which a platform was played.
type trial struct {
	Role  rack.Role          `json:"role"`
	Step  string             `json:"step,omitempty"` // that failed; empty: none
	Kind  simulate.FaultKind `json:"fails,omitempty"`
	Then  string             `json:"then"`
	Right bool               `json:"asItShould"`
}

// trialReason is what a fault of a trial is called in the results.
const trialReason = "trial"

// tryPlatform plays a platform in a small rack, once for every way in which a step can
// fail.
func tryPlatform(ctx context.Context, set *platform.Set, d *platform.Definition) ([]trial, error) {
	var out []trial
	for _, role := range d.Roles {
		r := trialRack(role, d)
		o := simulate.Options{Rack: r, Platforms: set.Platforms(), Images: map[string]rack.Image{}, Racks: 1, Seed: 1, Faults: simulate.None()}
		for i := range r.Devices {
			o.Images[r.Devices[i].Name] = rack.Image{Name: "trial", Digest: "sha256:" + strings.Repeat("0", 64), Size: 1 << 30}
		}
		if problems := rack.Validate(r, o.Platforms); len(problems) > 0 {
			return nil, fmt.Errorf("platform %s as a %s: %v", d.Name, role, problems[0].What)
		}
		fault := func(step string, kind simulate.FaultKind, scope simulate.Scope) simulate.Fault {
			return simulate.Fault{Role: role, Step: step, Kind: kind, Scope: scope, Probability: 1, Reason: trialReason}
		}
		well, err := try(ctx, o, role)
		if err != nil {
			return nil, err
		}
		never, err := try(ctx, o, role, fault(simulate.FirstContact, simulate.Silent, simulate.PerDevice))
		if err != nil {
			return nil, err
		}
		out = append(out, well, never)
		for i := range d.Steps {
			s := &d.Steps[i]
			if s.Action == rack.IssueTicket || s.OnReimage || i == discovers(d.Steps) {
				continue
			}
			var before []simulate.Fault // what a step that only a retry comes to is a retry of
			if s.OnRetry {
				first := leadsTo(d.Steps, i)
				if first == "" {
					out = append(out, trial{Role: role, Step: s.Name, Then: "no other step of its phase is retried past it"})
					continue
				}
				before = []simulate.Fault{fault(first, simulate.Silent, simulate.PerFirst)}
			}
			for _, kind := range []simulate.FaultKind{simulate.Refused, simulate.Silent} {
				if kind == simulate.Refused && s.Action == rack.Wait && len(s.Unless) == 0 {
					continue
				}
				t, err := try(ctx, o, role, append([]simulate.Fault{fault(s.Name, kind, simulate.PerDevice)}, before...)...)
				if err != nil {
					return nil, err
				}
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// discovers is the step that waits for what the device is discovered by, and so is over
// when it begins; -1: nothing is waited for before anything is done. When it fails
// nothing is heard of the device at all, which is a trial of its own.
func discovers(steps []rack.Step) int {
	for i := range steps {
		switch {
		case steps[i].OnReimage:
		case steps[i].Action == rack.Wait:
			return i
		default:
			return -1
		}
	}
	return -1
}

// leadsTo is a step whose failure leads to a step that only a retry comes to: one of its
// phase, before or after it, that is retried from it or from before it. Empty: none does.
func leadsTo(steps []rack.Step, to int) string {
	for i := range steps {
		s := &steps[i]
		if s.Phase != steps[to].Phase || s.OnRetry || s.OnReimage || s.Retries == 0 || s.Action == rack.IssueTicket || i == discovers(steps) {
			continue
		}
		from := i
		if s.RetryFrom != "" {
			from = slices.IndexFunc(steps, func(x rack.Step) bool { return x.Name == s.RetryFrom })
		}
		if from <= to {
			return s.Name
		}
	}
	return ""
}

// try plays one rack with faults, and judges how it ended. The first one is what the
// device is to fail of; the others lead to it.
func try(ctx context.Context, o simulate.Options, role rack.Role, faults ...simulate.Fault) (trial, error) {
	var f simulate.Fault
	if len(faults) > 0 {
		f = faults[0]
		o.Faults = simulate.Only(faults...)
	}
	t := trial{Role: role, Step: f.Step, Kind: f.Kind}
	r, err := simulate.Run(ctx, o)
	if err != nil {
		return t, err
	}
	named := f.Step == ""
	for _, x := range r.Failures {
		named = named || x.Reason == trialReason && x.Step == f.Step && x.Role == role
	}
	switch {
	case r.AllReady == 1:
		t.Then, t.Right = "all devices are ready", f.Step == ""
	case r.Halted == 1:
		t.Then, t.Right = "the rack halts", role.IsSwitch() && f.Step != "" && named
	case r.WithFailed == 1:
		t.Then, t.Right = "the server is isolated", role == rack.Server && f.Step != "" && named
	default:
		t.Then = "the rack comes to no end"
	}
	if f.Step != "" && !named && r.AllReady == 0 {
		t.Then += ", but not because of " + f.Step
	}
	return t, nil
}

// trialRack is a rack with a device of each role, of which that of one has a platform
// and those of the others are simulated ones.
func trialRack(role rack.Role, d *platform.Definition) *rack.Rack {
	at := func(network, host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, network, 0, host}) }
	bmc := func(host byte) *rack.BMC {
		return &rack.BMC{Protocol: "ipmi", Address: at(1, host), Credentials: "env:TRIAL"}
	}
	mgmt := func(port string) rack.Port { return rack.Port{Device: "mgmt-1", Name: port} }
	r := &rack.Rack{Name: "trial", Number: 2, Management: netip.PrefixFrom(at(1, 0), 24), Data: netip.PrefixFrom(at(2, 0), 24)}
	r.Agent.Cable = mgmt("48")
	r.Devices = []rack.Device{
		{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: platform.SimManagement, Address: at(1, 1), BMC: bmc(11)},
		{Name: "tor-1", Role: rack.ToRSwitch, Platform: platform.SimToR, Address: at(1, 2), Management: mgmt("1"), Data: []rack.Port{mgmt("11")}},
		{Name: "inter-rack-1", Role: rack.InterRackSwitch, Platform: platform.SimSpine, Address: at(1, 3), Management: mgmt("2")},
		{Name: "server-01", Role: rack.Server, Platform: platform.SimServer, Address: at(2, 1), BMC: bmc(21), Management: mgmt("3"),
			Data: []rack.Port{{Device: "tor-1", Name: "1"}}},
	}
	for i := range r.Devices {
		if r.Devices[i].Role == role {
			r.Devices[i].Platform = d.Name
			r.Devices[i].Image, r.Devices[i].Install = "trial", trialInstall(d.Installer)
			if d.LogsIn() {
				r.Devices[i].Access = &rack.Access{Credentials: "env:TRIAL", Key: "env:TRIAL"}
			}
		}
	}
	return r
}

// trialInstall is how a device is installed by an installer, as short as it may be said.
func trialInstall(i rack.Installer) *rack.Install {
	x := &rack.Install{Installer: i, PasswordHash: "env:TRIAL"}
	switch i {
	case "":
		return nil
	case rack.ESXi:
		x.Disk.Path = "/dev/disks/trial"
	case rack.Kickstart, rack.Autoinstall:
		x.Source = "http://192.0.2.1/trial"
		fallthrough
	case rack.Preseed:
		x.Kernel = "trial"
	case rack.DiskImage:
		x.PasswordHash = ""
	}
	return x
}
