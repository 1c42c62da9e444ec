package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/simimage"
	"github.com/rackreach/rackreach/internal/state"
)

// bundling is where images come from, as the flags say; without --bundle they are made
// up for a simulation.
type bundling struct {
	network
	place, release string
	trust          []string
	unsigned       bool // --allow-unsigned
}

func (g *bundling) flags(f *pflag.FlagSet) {
	f.StringVar(&g.place, "bundle", "", "take images from this bundle: a directory, a tar, HOST/NAME:RELEASE of a registry, or a URL (default: images made up for a simulation)")
	f.StringVar(&g.release, "release", "", "release of the bundle (default: the only one, or the one that fits the plan)")
	trustFlag(f, &g.trust)
	f.BoolVar(&g.unsigned, "allow-unsigned", false, "use a bundle that nobody who is trusted has signed; every report says so")
	g.network.flags(f)
}

func (g *bundling) check() error {
	if g.place == "" && (g.release != "" || len(g.trust) > 0 || g.unsigned) {
		return badInput(errors.New("--release, --trust, --allow-unsigned: they go with --bundle"))
	}
	return nil
}

// opener opens a place by the name that people give it.
type opener func(ctx context.Context, place string) (bundle.Place, error)

// depotName is how the depot of the agent's coordinator is named.
const depotName = "depot"

// opener opens what is on this machine and on the network.
func (n *network) opener(env func(string) (string, bool)) opener {
	return func(ctx context.Context, place string) (bundle.Place, error) {
		p, err := bundle.OpenPlace(ctx, place, n.access(env))
		if err != nil && place == depotName {
			return nil, errors.New("--bundle depot: an agent fetches from the depot of its coordinator, and this is none: give rackreach agent --bundle depot, and here the bundle itself")
		}
		return p, err
	}
}

// chosen is a bundle that may be used, opened.
type chosen struct {
	*bundle.Bundle
	record *state.Bundle
}

// open opens the bundle and holds that it is signed, unless it need not be; nil: none
// was named. plan, if not nil, is what a release must fit.
func (g *bundling) open(ctx context.Context, home state.Home, open opener, plan *rack.Plan) (*chosen, error) {
	r, err := g.record(home)
	if r == nil || err != nil {
		return nil, err
	}
	return choose(ctx, r, g.release, g.unsigned, open, plan)
}

// record is what the flags say of the bundle, which nobody has opened; nil: none was
// named.
func (g *bundling) record(home state.Home) (*state.Bundle, error) {
	if g.place == "" {
		return nil, nil
	}
	place := g.place
	if _, err := os.Stat(place); err == nil {
		if place, err = filepath.Abs(place); err != nil {
			return nil, fmt.Errorf("--bundle: %w", err)
		}
	}
	r := &state.Bundle{Place: place}
	if err := trustThere(g.trust); err != nil {
		return nil, err
	}
	for _, t := range g.trust {
		t, err := filepath.Abs(t)
		if err != nil {
			return nil, fmt.Errorf("--trust: %w", err)
		}
		r.Trust = append(r.Trust, t)
	}
	if len(r.Trust) == 0 {
		r.Trust = []string{home.Trust()}
	}
	return r, nil
}

// choose opens what a record names, and completes it.
func choose(ctx context.Context, r *state.Bundle, release string, unsigned bool, open opener, plan *rack.Plan) (_ *chosen, err error) {
	t, err := bundle.ReadTrust(r.Trust...)
	if err != nil {
		return nil, badInput(err)
	}
	p, err := open(ctx, r.Place)
	if err != nil {
		return nil, notOpened(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	var b *bundle.Bundle
	if plan == nil {
		b, err = bundle.Find(ctx, p, release)
	} else {
		b, err = bundle.Choose(ctx, p, release, plan)
	}
	if err != nil {
		return nil, notOpened(err)
	}
	r.Release, r.Digest, r.SignedBy = b.Name, string(b.Ref.Digest), ""
	by, err := b.Signer(ctx, t)
	switch {
	case err == nil:
		r.SignedBy = by.ID
	case !errors.Is(err, bundle.ErrUnsigned) && !errors.Is(err, bundle.ErrUntrusted):
		return nil, err
	case !unsigned:
		return nil, badInput(fmt.Errorf("%w\nNothing was begun. --allow-unsigned uses it all the same; every report says so then", err))
	}
	return &chosen{b, r}, nil
}

// notOpened is why a bundle is not opened. That its place is away at this moment is no bad
// input: an agent that begins then is started again.
func notOpened(err error) error {
	if bundle.Away(err) {
		return err
	}
	return badInput(err)
}

// resolve is everything that a run of a rack carries out, with the images of the
// bundle; c may be nil.
func (c *chosen) resolve(r *rack.Rack, known map[string]rack.Platform) (*state.Plan, error) {
	if c == nil {
		return resolved(r, known)
	}
	p, err := resolvedBy(r, known, c.Describe)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.Fits(p.Plan), c.FitsInstallers(r)); err != nil {
		return nil, badInput(err)
	}
	p.Bundle = c.record
	return p, nil
}

// close closes the bundle, if there is one.
func (c *chosen) close() error {
	if c == nil {
		return nil
	}
	return c.Place.Close()
}

// imagesOf are the images that a run carries out, ready to be served: from its bundle,
// which is opened and checked again, through the cache of the rack when it is not on
// this machine. closers take what is to be closed after the run.
func imagesOf(ctx context.Context, k *carrying, say func(format string, a ...any)) (boot.Images, error) {
	r := k.plan.Bundle
	if r == nil {
		return simimage.New(simimage.Specs())
	}
	again := *r
	again.Trust = slices.Clone(r.Trust)
	c, err := k.choose(ctx, &again, r.Release, r.SignedBy == "", say)
	if err != nil {
		return nil, err
	}
	k.closers = append(k.closers, c.close)
	var cache *blob.Store
	if _, here := c.Place.(bundle.Local); !here {
		if cache, err = blob.OpenStore(ctx, k.dir.Cache(), blob.Options{Limit: k.cacheSize}); err != nil {
			return nil, fmt.Errorf("open the cache of images: %w", err)
		}
		k.closers = append(k.closers, cache.Close)
	}
	images, err := bundle.NewImages(c.Bundle, cache)
	if err != nil {
		return nil, err
	}
	images.Remember(k.checked)
	err = images.Prepare(ctx, k.plan.Plan, func(what bundle.Doing, name string, size int64) {
		say("%s image %s, %s, of %s", what, name, bundle.Bytes(size), c.Place)
	})
	return images, err
}

// carrying is what imagesOf needs of a run.
type carrying struct {
	plan      *state.Plan
	dir       state.Dir
	open      opener
	cacheSize int64           // bytes; 0: as many as the disk takes
	checked   *bundle.Checked // nil: what is there is read each time
	closers   []func() error
}

// choose opens what a record names, or, where its place cannot be reached, what the rack
// has fetched from there before.
func (k *carrying) choose(ctx context.Context, r *state.Bundle, release string, unsigned bool, say func(format string, a ...any)) (*chosen, error) {
	return choose(ctx, r, release, unsigned, func(ctx context.Context, place string) (bundle.Place, error) {
		p, err := reachable(ctx, k.open, place)
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		kept, errKept := bundle.OpenKept(k.dir.Cache())
		if errKept != nil {
			return nil, err // the cause; that there is nothing else is not
		}
		if _, errKept = bundle.Choose(ctx, kept, release, k.plan.Plan); errKept != nil {
			return nil, errors.Join(err, kept.Close())
		}
		say("the images are those that were fetched before: %v", err)
		return kept, nil
	}, k.plan.Plan)
}

// reachable opens a place, and asks what is there: a registry is not asked before.
func reachable(ctx context.Context, open opener, place string) (bundle.Place, error) {
	p, err := open(ctx, place)
	if err != nil {
		return nil, err
	}
	if _, err := p.Refs(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// close closes what was opened, the last first.
func (k *carrying) close() (err error) {
	for _, c := range slices.Backward(k.closers) {
		err = errors.Join(err, c())
	}
	k.closers = nil
	return err
}

// defaultCache is how many bytes of images an agent keeps that come from elsewhere.
const defaultCache = 64 << 30
