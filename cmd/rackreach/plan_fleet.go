package main

import (
	"encoding/json"
	"errors"
	"io"
	"text/tabwriter"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// plannedRack is a rack of a fleet, as plan shows it.
type plannedRack struct {
	Rack    string `json:"rack"`
	Devices int    `json:"devices"`
	Hash    string `json:"hash"`
}

// planFleet shows the racks of a fleet in the order in which they are begun.
func planFleet(w io.Writer, path string, f *rackfile.Fleet, known map[string]rack.Platform, from *chosen, output string) error {
	var racks []plannedRack
	for _, r := range f.Racks {
		p, err := from.resolve(r, known)
		if err != nil {
			return err
		}
		racks = append(racks, plannedRack{r.Name, len(r.Devices), p.Plan.Hash})
	}
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"fleet": f.Spec.Name, "atOnce": f.Spec.AtOnce, "racks": racks})
	}
	p := printer{w: w}
	p.line("fleet %s", f.Spec.Name)
	switch n := f.Spec.AtOnce; n {
	case 0:
		p.line("all %d racks at once", len(racks))
	default:
		p.line("%d racks, %d at once, in this order", len(racks), n)
	}
	if n := f.Spec.HaltAfter; n > 0 {
		p.line("no further rack is begun once more than %d have halted", n-1)
	}
	p.line("")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := printer{w: tw}
	t.line("RACK\tDEVICES\tPLAN")
	for _, r := range racks {
		t.line("%s\t%d\t%s", r.Rack, r.Devices, r.Hash)
	}
	err := errors.Join(p.err, t.err, tw.Flush())
	p.line("")
	p.line("Next: rackreach plan FILE shows one of them; rackreach apply %s, with a coordinator", path)
	return errors.Join(err, p.err)
}
