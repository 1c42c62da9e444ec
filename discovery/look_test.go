package discovery

import (
	"errors"
	"testing"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestLookAt(t *testing.T) {
	// Option 52: more options stand in file.
	p := discover().str(60, "Juniper-qfx10008").opt(52, 1)
	b := p.bytes()
	copy(b[fileOffset:], "\x0c\x05DE123\xff")
	got, err := LookAt(b, classify.Default())
	if err != nil || got.Message != "DISCOVER" || got.Keys.MAC != p.mac || got.Class.Serial != "DE123" || got.Keys.Stage != rack.StageNOS {
		t.Fatalf("%+v, %v", got, err)
	}
	if e := classify.Default().Explain(got.Said); e.Class != got.Class {
		t.Errorf("explained as %+v, looked at as %+v", e.Class, got.Class)
	}
	if _, err := LookAt(b[:200], classify.Default()); !errors.Is(err, errLength) {
		t.Errorf("%v", err)
	}
}

// TestRulesAreTheOwners: a Server asks those that it was given.
func TestRulesAreTheOwners(t *testing.T) {
	rules, err := classify.Parse("own.yaml", []byte("apiVersion: rackreach/v1\nkind: Classification\nrules: [{name: x, when: {60: lab}, stage: bmc, vendor: Lab}]"))
	if err != nil {
		t.Fatal(err)
	}
	in := discover().str(60, "lab").bytes()
	for _, x := range []struct {
		rules *classify.Rules
		want  rack.Stage
	}{{rules, rack.StageBMC}, {nil, rack.StageUnknown}} {
		if res := testServer(t, Options{Rules: x.rules}).Handle(in, sender); res.Seen == nil || res.Seen.Observation.Stage != x.want {
			t.Errorf("%+v", res.Seen)
		}
	}
}
