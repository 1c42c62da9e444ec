package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/state"
)

// fleetPlan is what a fleet file leads to: the plan of every rack, in the order in
// which racks are begun.
type fleetPlan struct {
	Fleet     string        `json:"fleet"`
	AtOnce    int           `json:"atOnce"`    // 0: all
	HaltAfter int           `json:"haltAfter"` // racks that may halt
	Racks     []plannedRack `json:"racks"`
	Backplane []plannedLink `json:"backplane"`
}

type plannedRack struct {
	File string     `json:"file"`
	Plan *rack.Plan `json:"plan"`
}

// plannedLink is a cable between two racks, "RACK/DEVICE:PORT" at both ends.
type plannedLink struct {
	A string `json:"a"`
	B string `json:"b"`
}

// planFleet plans every rack of a fleet, and hands each plan to keep.
func planFleet(f *rackfile.Fleet, keep func(*state.Plan) error) (fleetPlan, error) {
	p := fleetPlan{Fleet: f.Spec.Name, AtOnce: f.Spec.AtOnce, HaltAfter: f.Spec.HaltAfter, Racks: []plannedRack{}, Backplane: []plannedLink{}}
	for i, r := range f.Racks {
		all, err := resolved(r)
		if err == nil {
			err = keep(all)
		}
		if err != nil {
			return p, err
		}
		p.Racks = append(p.Racks, plannedRack{f.Files[i], all.Plan})
	}
	for _, l := range fleet.Links(f.Racks) {
		p.Backplane = append(p.Backplane, plannedLink{l.A.String(), l.B.String()})
	}
	return p, nil
}

func (f fleetPlan) write(w io.Writer, output, file string) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(f)
	}
	p := printer{w: w}
	p.line("fleet %s: %s, %s, in this order; none is begun any more once %s", f.Fleet, counted(len(f.Racks), "rack"), f.pace(), f.limit())
	p.line("")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := printer{w: tw}
	t.line("  RACK\tPLAN\tDEVICES\tFILE")
	for _, r := range f.Racks {
		t.line("  %s\t%s\t%d\t%s", r.Plan.Rack, r.Plan.Hash, len(r.Plan.Devices), r.File)
	}
	if t.err == nil {
		t.err = tw.Flush()
	}
	if t.err != nil {
		return t.err
	}
	if len(f.Backplane) > 0 {
		p.line("")
		p.line("cables between racks; the fleet is complete once the switches at both ends of each hear each other")
		for _, l := range f.Backplane {
			p.line("  %s - %s", l.A, l.B)
		}
	}
	p.line("")
	p.line("Next: rackreach plan %s -o json shows every device of every rack", file)
	return p.err
}

// counted is "1 rack" or "2 racks".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (f fleetPlan) pace() string {
	if f.AtOnce == 0 {
		return "all at once"
	}
	return fmt.Sprintf("%d at once", f.AtOnce)
}

func (f fleetPlan) limit() string {
	switch f.HaltAfter {
	case 0:
		return "a rack has halted"
	case 1:
		return "more than 1 rack has halted"
	}
	return fmt.Sprintf("more than %d racks have halted", f.HaltAfter)
}
