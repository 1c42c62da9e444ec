package main

import (
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/simimage"
)

// The platforms and the simulated images are tied by their names only, since
// neither package may import the other.
func TestEveryPlatformHasItsImage(t *testing.T) {
	store, err := simimage.New(simimage.Specs())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platform.Default().Definitions() {
		if _, err := store.Describe(p.Image); (err == nil) != (p.Status == platform.Simulated) {
			t.Errorf("platform %s is %s: %v", p.Name, p.Status, err)
		}
	}
}
