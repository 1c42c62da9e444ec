package main

import (
	"fmt"
	"io"
	"strings"

	deviceconfig "github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
)

// configured are the files that a device's platform gives it over SSH.
func configured(d *rack.Device, known map[string]rack.Platform) (files []rack.ExchangeFile) {
	steps := known[d.Platform].Steps
	for i := range steps {
		if steps[i].SSH != nil {
			files = append(files, steps[i].SSH.Files...)
		}
	}
	return files
}

// gift is a file that a platform gives a device: over SSH, or when it asks for it at its
// first boot.
type gift struct {
	name, template string
	served         bool // it is asked for
}

// givenTo are the files of a device, those that it asks for by the names that it asks by.
func givenTo(d *rack.Device, known map[string]rack.Platform) (out []gift) {
	for _, f := range configured(d, known) {
		out = append(out, gift{f.Name, f.Template, false})
	}
	if p := known[d.Platform].Provision; p != nil {
		for _, x := range p.Documents {
			out = append(out, gift{x.Name, x.Template, true})
		}
	}
	return out
}

// renderConfig shows a file that a device is configured with; ok is false when its
// platform has none of that name. An empty name is the first one, of a device that no
// installer asks for files.
func renderConfig(out io.Writer, r *rack.Rack, d *rack.Device, known map[string]rack.Platform, name string) (ok bool, err error) {
	var names []string
	for _, f := range givenTo(d, known) {
		names = append(names, f.name)
		if name != f.name && (name != "" || d.Answered() || d.Seeded()) {
			continue
		}
		// What only a ticket can say is stood in for.
		life := deviceconfig.Life{Run: "RUN", Ticket: r.Name + "/" + d.Name + "/1", Image: rack.Image{Name: rack.ImageName(d, known), Digest: "sha256:" + strings.Repeat("0", 64)}}
		v, err := deviceconfig.New(r, d.Name, life)
		if err != nil {
			return true, badInput(err)
		}
		var values any = v
		if f.served {
			values = deviceconfig.SampleServed(v)
		}
		text, err := deviceconfig.Render(f.name, f.template, values)
		if err != nil {
			return true, badInput(err)
		}
		_, err = io.WriteString(out, text)
		return true, err
	}
	if len(names) > 0 && !d.Answered() && !d.Seeded() {
		return true, badInput(fmt.Errorf("%q: no such file: %s is configured with %s", name, d.Name, strings.Join(names, ", ")))
	}
	return false, nil
}
