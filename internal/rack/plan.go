package rack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
)

// CoreVersion is part of every plan's hash: it changes when the same rack file,
// platforms and images would be carried out in another way.
const CoreVersion = 1

// PlannedRoute is one way to a device: the switches that must be ready first.
type PlannedRoute struct {
	Network  Network  `json:"network"`
	Port     string   `json:"port"` // near end of the device's cable
	Switches []string `json:"switches"`
}

// PlannedDevice is what will be done to one device, and after what.
type PlannedDevice struct {
	Name       string         `json:"device"`
	Role       Role           `json:"role"`
	Platform   string         `json:"platform"`
	Wave       int            `json:"wave"`
	Address    netip.Addr     `json:"address"`
	Routes     []PlannedRoute `json:"routes"`
	WaitsFor   []string       `json:"waitsFor"` // devices that must be ready before it is powered on or written to
	Because    string         `json:"because"`
	Overwrites string         `json:"overwrites"` // what is lost; empty: nothing
	Image      PlannedImage   `json:"image"`
}

// PlannedImage is the image of a device.
type PlannedImage struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // bytes
}

// Plan is the ordered work for one rack file and its images.
type Plan struct {
	Rack    string          `json:"rack"`
	Hash    string          `json:"hash"`
	Devices []PlannedDevice `json:"devices"` // by wave, then in the order of the rack file
}

// NewPlan plans a validated rack. describe gives an image by name; its error is
// returned, wrapped with the device that wants the image.
func NewPlan(r *Rack, platforms map[string]Platform, describe func(name string) (Image, error)) (*Plan, error) {
	cabling := NewCabling(r)
	plan := &Plan{Rack: r.Name}
	for _, wave := range []int{1, 2, 3} {
		for i := range r.Devices {
			d := &r.Devices[i]
			if d.Role.Wave() != wave {
				continue
			}
			image, err := describe(ImageName(d, platforms))
			if err != nil {
				return nil, fmt.Errorf("plan %s: %w", d.Name, err)
			}
			p := PlannedDevice{Name: d.Name, Role: d.Role, Platform: d.Platform, Wave: wave, Address: d.Address,
				Routes: []PlannedRoute{}, WaitsFor: waitsFor(r, wave), Because: because(d.Role),
				Image: PlannedImage(image)}
			if d.Role == ManagementSwitch {
				p.Routes = append(p.Routes, PlannedRoute{Management, "agent's cable", []string{}})
			}
			for _, c := range cabling.Ends(d.Name) {
				route, _ := cabling.Route(c)
				p.Routes = append(p.Routes, PlannedRoute{c.Network, c.Near.String(), route})
			}
			if !d.Protect {
				p.Overwrites = "whole disk"
				if d.Role.IsSwitch() {
					p.Overwrites = "system and configuration"
				}
			}
			plan.Devices = append(plan.Devices, p)
		}
	}
	hash, err := planHash(r, platforms, plan)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", r.Name, err)
	}
	plan.Hash = hash
	return plan, nil
}

// ImageName is the image that a device gets: its own, or its platform's.
func ImageName(d *Device, platforms map[string]Platform) string {
	if d.Image != "" {
		return d.Image
	}
	return platforms[d.Platform].Image
}

func waitsFor(r *Rack, wave int) []string {
	out := []string{}
	for i := range r.Devices {
		d := &r.Devices[i]
		if (wave == 2 && d.Role == ManagementSwitch) || (wave == 3 && d.Role.IsSwitch()) {
			out = append(out, d.Name)
		}
	}
	return out
}

func because(role Role) string {
	switch role {
	case ManagementSwitch:
		return "it is the gate to everything: the agent is plugged into it"
	case Server:
		return "its data cables lead through the switches; it is powered on when all of them are ready"
	default:
		return "its management cable leads through the management switch"
	}
}

// planHash covers the rack as it was read, the platforms it uses, the digests
// of its images and the core's version; never forecasts.
func planHash(r *Rack, platforms map[string]Platform, p *Plan) (string, error) {
	used := map[string]Platform{}
	for i := range r.Devices {
		used[r.Devices[i].Platform] = platforms[r.Devices[i].Platform]
	}
	// Struct fields are written in order and map keys sorted, so the bytes are
	// the same for the same content.
	b, err := json.Marshal(struct {
		Core      int
		Rack      *Rack
		Platforms map[string]Platform
		Devices   []PlannedDevice
	}{CoreVersion, r, used, p.Devices})
	if err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}
