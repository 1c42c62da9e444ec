package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/simimage"
	"github.com/rackreach/rackreach/internal/state"
)

// lookLimit bounds how long an order waits for the bundle to be looked into.
const lookLimit = time.Minute

// bundled holds that this agent has the images of a plan, and says in it where they
// come from.
func (a *agent) bundled(p *state.Plan) error {
	if a.images.place == "" && !a.simulate {
		return errors.New("real devices are imaged out of a bundle: start the agent with --bundle")
	}
	if a.images.place == "" {
		return madeUp(p.Plan)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
	defer cancel()
	c, err := a.images.open(ctx, a.home, a.opener(), p.Plan)
	if err != nil {
		return err
	}
	p.Bundle = c.record
	return c.close()
}

// madeUp holds that the images of a plan are those of the simulation.
func madeUp(p *rack.Plan) error {
	images, err := simimage.New(simimage.Specs())
	if err != nil {
		return err
	}
	for _, d := range p.Devices {
		if i, err := images.Describe(d.Image.Name); err != nil || rack.PlannedImage(i) != d.Image {
			return fmt.Errorf("image %s of %s comes from a bundle, and the agent was started without --bundle", d.Image.Name, d.Name)
		}
	}
	return nil
}

// served are the images that a life of the agent serves. What a flag names now counts
// before what the run was begun with: a bundle may have moved.
func (a *agent) served(ctx context.Context, s *imaging, kept *rackagent.Kept, say *printer) (boot.Images, error) {
	size, err := parseSize(a.cache)
	if err != nil {
		return nil, badInput(fmt.Errorf("--cache-size: %w", err))
	}
	plan := *kept.Carried
	from := &carrying{plan: &plan, dir: kept.Dir, open: a.opener(), cacheSize: size, checked: &a.checked}
	if a.images.place != "" && plan.Bundle != nil {
		r, err := a.images.record(a.home)
		if err != nil {
			return nil, err
		}
		c, err := from.choose(ctx, r, a.images.release, a.images.unsigned, func(string, ...any) {})
		if err != nil {
			return nil, err
		}
		plan.Bundle = c.record // it fits the plan: its images have the digests that the run began with
		if err := c.close(); err != nil {
			return nil, err
		}
	}
	s.closers = append(s.closers, from.close)
	images, err := imagesOf(ctx, from, say.line)
	return images, errors.Join(err, say.err)
}

// depotAway is how long the machine of a depot has to answer at all.
const depotAway = 15 * time.Second

// opener opens the depot of the coordinator besides all other places.
func (a *agent) opener() opener {
	others := a.images.opener(a.env)
	return func(ctx context.Context, place string) (bundle.Place, error) {
		if place != depotName {
			return others(ctx, place)
		}
		t := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: 10 * time.Second, DialContext: (&net.Dialer{Timeout: depotAway}).DialContext}
		of := a.to.URL()
		base := strings.TrimRight(of, "/")
		if path, unix := strings.CutPrefix(base, "unix://"); unix {
			base = "http://coordinator"
			t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}
		}
		config, err := a.trust(a.to, of)
		if err != nil {
			return nil, err
		}
		if config != nil {
			// A connection of its own kind: a long transfer holds up no stream of orders.
			config = config.Clone()
			config.NextProtos = []string{"http/1.1"}
			t.TLSClientConfig = config
		}
		p, err := bundle.OpenWeb(ctx, base+"/depot", &http.Client{Transport: t})
		if err != nil {
			t.CloseIdleConnections()
			return nil, fmt.Errorf("the depot of the coordinator: %w", err)
		}
		return p, nil
	}
}

// units of sizes, the longest names first.
var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}}

// parseSize reads "64GiB".
func parseSize(s string) (int64, error) {
	i := slices.IndexFunc(units, func(u struct {
		name  string
		bytes int64
	}) bool {
		return strings.HasSuffix(s, u.name)
	})
	if i >= 0 {
		n, err := strconv.ParseInt(strings.TrimSuffix(s, units[i].name), 10, 32)
		if err == nil && n > 0 && n < 1<<20 {
			return n * units[i].bytes, nil
		}
	}
	return 0, fmt.Errorf("%.40q is no size: write 64GiB, 500MiB or 2TiB", s)
}
