package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// plans keeps what racks carry out: "RACK.HASH" for every plan, and "RACK" for the
// hash of the one that was put last.
type plans struct {
	table *fleetlog.Table

	mu        sync.Mutex
	platforms map[string]map[string]rack.Platform // by a plan's platforms as text: many racks share them
}

func newPlans(t *fleetlog.Table) *plans {
	return &plans{table: t, platforms: map[string]map[string]rack.Platform{}}
}

// put checks a plan and keeps it.
func (p *plans) put(ctx context.Context, name string, plan []byte) (string, error) {
	s, err := state.Decode(plan)
	if err != nil {
		return "", &api.BadRequest{What: err.Error(), Next: "plan it with a rackreach of the coordinator's release"}
	}
	if s.Rack.Name != name {
		return "", &api.BadRequest{What: fmt.Sprintf("the plan is of rack %.80q, not of %s", s.Rack.Name, name), Next: "give it under its own name"}
	}
	if what, next := s.Check(); what != "" {
		return "", &api.BadRequest{What: what, Next: next}
	}
	hash := s.Plan.Hash
	if hash == "" || strings.ContainsAny(hash, ". *>\t\n") || len(hash) > 128 {
		return "", &api.BadRequest{What: fmt.Sprintf("the plan's hash is %.40q", hash), Next: "plan it anew"}
	}
	if err := p.table.Put(ctx, name+"."+hash, plan); err != nil {
		return "", fmt.Errorf("keep the plan of rack %s: %w", name, err)
	}
	if err := p.table.Put(ctx, name, []byte(hash)); err != nil {
		return "", fmt.Errorf("keep the plan of rack %s: %w", name, err)
	}
	return hash, nil
}

// keep keeps the plan that an agent told of, which nobody put here.
func (p *plans) keep(ctx context.Context, name string, plan []byte) error {
	_, err := p.put(ctx, name, plan)
	return err
}

// get is the plan of a rack with a hash.
func (p *plans) get(ctx context.Context, name, hash string) (*actors.FleetPlan, error) {
	b, _, err := p.table.Get(ctx, name+"."+hash)
	if errors.Is(err, fleetlog.ErrNone) {
		return nil, &api.BadRequest{What: fmt.Sprintf("rack %s: the coordinator has no plan %.40q", name, hash), Next: "rackreach apply FILE gives it one"}
	}
	if err != nil {
		return nil, fmt.Errorf("read plan %s of rack %s: %w", hash, name, err)
	}
	s, err := state.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("plan %s of rack %s: %w", hash, name, err)
	}
	trim(s.Rack)
	return &actors.FleetPlan{Rack: s.Rack, Platforms: p.shared(s.Platforms), JSON: b}, nil
}

// maxShared bounds the platforms that are shared; when there are more, all are
// forgotten: racks of one release have the same few.
const maxShared = 64

// trim lets go of what reading JSON leaves over: room behind slices, and the same
// word many times. A coordinator holds the rack for as long as it runs.
func trim(r *rack.Rack) {
	words := map[string]string{}
	once := func(s *string) {
		if w, ok := words[*s]; ok {
			*s = w
		} else {
			words[*s] = *s
		}
	}
	r.Devices = append(make([]rack.Device, 0, len(r.Devices)), r.Devices...)
	for i := range r.Devices {
		d := &r.Devices[i]
		once(&d.Name)
		once((*string)(&d.Role))
		once(&d.Platform)
		once(&d.Image)
		once(&d.Management.Device)
		d.Data = append(make([]rack.Port, 0, len(d.Data)), d.Data...)
		for n := range d.Data {
			once(&d.Data[n].Device)
		}
	}
}

// shared is the same platforms for all racks that have the same ones.
func (p *plans) shared(platforms map[string]rack.Platform) map[string]rack.Platform {
	key := fmt.Sprintf("%v", platforms) // fmt sorts maps by key
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.platforms[key]; have != nil {
		return have
	}
	if len(p.platforms) >= maxShared {
		clear(p.platforms)
	}
	p.platforms[key] = platforms
	return platforms
}

// watch calls fn with the hash of the plan that was put last, of every rack. told is
// called once it was told what was put so far.
func (p *plans) watch(ctx context.Context, fn func(rack, hash string), told func()) error {
	return p.table.WatchKeys(ctx, "*", func(key string, value []byte, _ uint64) error { // not the plans themselves: "RACK.HASH"
		if value != nil {
			fn(key, string(value))
		}
		return nil
	}, told)
}
