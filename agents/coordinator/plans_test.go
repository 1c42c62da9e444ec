package coordinator

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// sealed is what a plan says, in the form in which it is sent.
func sealed(says []byte) []byte {
	return fmt.Appendf(nil, `{"version":1,"sum":"sha256:%x","says":%s}`, sha256.Sum256(says), says)
}

// TestPlansThatAreNotKept puts what is no plan, or another one than it says.
func TestPlansThatAreNotKept(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	good := must(plan(t, "r1").Encode())
	changed := func(change func(p *state.Plan)) []byte {
		p := must(state.Decode(good))
		change(p)
		return must(p.Encode())
	}
	for _, x := range []struct {
		name, rack string
		plan       []byte
		want       string
	}{
		{"nothing", "racks/r1", nil, "has 0 bytes"},
		{"too much", "racks/r1", bytes.Repeat([]byte(" "), 16<<20+1), "give one of 1 to"},
		{"no JSON", "racks/r1", []byte("\x00\x01"), "read the plan"},
		{"null", "racks/r1", []byte("null"), "a part of it is missing"},
		{"deep", "racks/r1", []byte(strings.Repeat("[", 1<<20)), "read the plan"},
		{"cut", "racks/r1", good[:len(good)-20], "read the plan"},
		{"a newer release", "racks/r1", []byte(`{"version":99,"says":{}}`), "a newer rackreach wrote it"},
		{"no sum", "racks/r1", []byte(`{"version":1,"says":{}}`), "its sum is wrong"},
		{"empty", "racks/r1", sealed([]byte(`{}`)), "a part of it is missing"},
		{"nulls", "racks/r1", sealed([]byte(`{"rack":null,"plan":null,"platforms":null}`)), "a part of it is missing"},
		{"hollow", "racks/r1", sealed([]byte(`{"rack":{"Name":"r1"},"plan":{"Rack":"r1"},"platforms":{"":{}}}`)), "wrong with the rack"},
		{"changed by hand", "racks/r1", bytes.Replace(good, []byte("10.0.1.11"), []byte("10.0.1.99"), 1), "its sum is wrong"},
		{"no name", "racks/", good, "racks/RACK"},
		{"a path", "racks/../r1", good, "racks/RACK"},
		{"a subject", "racks/*", good, "the plan is of rack"},
		{"another rack's name", "racks/r2", good, "the plan is of rack"},
		{"another rack in the plan", "racks/r1", changed(func(p *state.Plan) { p.Plan.Rack = "r2" }), "holds rack"},
		{"a rack's name that is none", "racks/r1", changed(func(p *state.Plan) { p.Rack.Name, p.Plan.Rack = "r1\x1b[31m", "r1\x1b[31m" }), "the plan is of rack"},
		{"a hash of one's own", "racks/r1", changed(func(p *state.Plan) { p.Plan.Hash = "0123456789abcdef" }), "it would be carried out as plan"},
		{"no hash", "racks/r1", changed(func(p *state.Plan) { p.Plan.Hash = "" }), "it would be carried out as plan"},
		{"no devices", "racks/r1", changed(func(p *state.Plan) { p.Rack.Devices = nil }), "wrong with the rack"},
		{"no platform", "racks/r1", changed(func(p *state.Plan) { clear(p.Platforms); p.Platforms["x"] = rack.Platform{} }), "wrong with the rack"},
		{"other routes", "racks/r1", changed(func(p *state.Plan) { p.Plan.Devices = p.Plan.Devices[:1] }), "plan"},
		{"another order", "racks/r1", changed(func(p *state.Plan) { slices.Reverse(p.Plan.Devices) }), "is not what its hash"},
		{"another image for one", "racks/r1", changed(func(p *state.Plan) {
			p.Plan.Devices[len(p.Plan.Devices)-1].Image.Digest = "sha256:" + strings.Repeat("1", 64)
		}), "is not what its hash"},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := s.admin.Fleet.PutPlan(t.Context(), connect.NewRequest(&messages.PutPlanRequest{Name: x.rack, Plan: x.plan}))
			code := connect.CodeOf(err)
			if err == nil || code != connect.CodeInvalidArgument && code != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s: %.300v", code, err)
			}
		})
	}
	keys, err := s.c.plans.table.Keys(t.Context())
	if err != nil || len(keys) > 0 {
		t.Errorf("something was kept: %v %v", keys, err)
	}
	if s.put("r1"); s.c.Alive(patience) != nil {
		t.Error("a sound plan is not taken any more")
	}
}

// leaves are the places of a JSON value that can be replaced.
func leaves(v any, at []any, put func(at []any)) {
	put(at)
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			leaves(e, append(slices.Clone(at), k), put)
		}
	case []any:
		for i, e := range x {
			leaves(e, append(slices.Clone(at), i), put)
		}
	}
}

func replaced(v any, at []any, by any) any {
	if len(at) == 0 {
		return by
	}
	switch x := v.(type) {
	case map[string]any:
		x[at[0].(string)] = replaced(x[at[0].(string)], at[1:], by)
	case []any:
		x[at[0].(int)] = replaced(x[at[0].(int)], at[1:], by)
	}
	return v
}

// TestAPlanIsWhatItsHashSays: whatever is changed in a plan, it is refused, or it is
// still the plan that its own rack makes.
func TestAPlanIsWhatItsHashSays(t *testing.T) {
	var whole struct{ Says json.RawMessage }
	if err := json.Unmarshal(must(plan(t, "r1").Encode()), &whole); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var v any
		if err := json.Unmarshal(whole.Says, &v); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			var places []string
			by := map[string][]any{}
			leaves(v, nil, func(at []any) { s := fmt.Sprint(at...); places, by[s] = append(places, s), at })
			slices.Sort(places)
			at := by[rapid.SampledFrom(places).Draw(t, "place")]
			v = replaced(v, at, rapid.SampledFrom([]any{nil, "", "r1", "mgmt-1", -1, 1, 1 << 40, 1e300, true, []any{}, []any{nil}, map[string]any{}, "\x00", strings.Repeat("x", 5000), "mgmt-1:1", "10.0.1.11"}).Draw(t, "value"))
		}
		says := must(json.Marshal(v))
		p, err := state.Decode(sealed(says))
		if err != nil {
			return
		}
		if what, _ := p.Check(); what != "" {
			return
		}
		again, err := rack.NewPlan(p.Rack, p.Platforms, func(name string) (rack.Image, error) {
			for _, d := range p.Plan.Devices {
				if d.Image.Name == name {
					return rack.Image(d.Image), nil
				}
			}
			return rack.Image{}, fmt.Errorf("no image %s", name)
		})
		if err != nil || !reflect.DeepEqual(must(json.Marshal(again)), must(json.Marshal(p.Plan))) {
			t.Fatalf("it passed, and is another plan: %v", err)
		}
	})
}
