package simulate

import (
	"math/rand/v2"
	"slices"
	"time"
)

// usualDraws is how often a duration is drawn to find its ninetieth percentile.
const usualDraws = 400

// Usual is how long each step of each device takes at most in nine of ten cases,
// from the table of estimates: what runs longer is slower than usual. Its errors
// are those of Run.
func Usual(o Options) (map[string]map[string]time.Duration, error) {
	s, err := newSetup(o)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(o.Seed, 0))
	out := map[string]map[string]time.Duration{}
	for _, d := range s.devices {
		steps := map[string]time.Duration{}
		for n := range d.platform.Steps {
			draws := make([]time.Duration, usualDraws)
			for i := range draws {
				draws[i] = d.takes[n].Draw(r)
			}
			slices.Sort(draws)
			if p90 := draws[usualDraws*9/10]; p90 > 0 {
				steps[d.platform.Steps[n].Name] = p90
			}
		}
		out[d.dev.Name] = steps
	}
	return out, nil
}
