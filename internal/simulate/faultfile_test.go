package simulate

import (
	"errors"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestParseFaults(t *testing.T) {
	f, err := ParseFaults([]byte(`
faults:
  - {role: server, step: write, probability: 0.02, kind: error, scope: device, reason: disk missing}
  - {step: first-contact, probability: 1}
  - {role: server, step: data-cable, probability: 1e-2}
  - {step: verify, probability: 0}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Fault{
		{Role: rack.Server, Step: "write", Kind: Refused, Scope: PerDevice, Probability: 0.02, Reason: "disk missing"},
		{Step: FirstContact, Kind: Silent, Scope: PerDevice, Probability: 1, Reason: "silent at first-contact"},
		{Role: rack.Server, Step: DataCable, Kind: Silent, Scope: PerCable, Probability: 0.01, Reason: "silent at data-cable"},
		{Step: "verify", Kind: Refused, Scope: PerAttempt, Reason: "error at verify"},
	}
	for i, got := range f.List() {
		got.Source, got.Mark = "", ""
		if got != want[i] {
			t.Errorf("fault %d: %+v, want %+v", i, got, want[i])
		}
	}
}

func TestBadFaultFiles(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"", "the file is empty; write: faults:"},
		{"faults: [", "this is not YAML"},
		{"- a", "line 1: the file is not a mapping"},
		{"{}", "line 1: faults is missing"},
		{"faults: 3", "line 1: faults is not a list"},
		{"faults: []\nmore: 1", `line 2: unknown key "more"; write: one of faults`},
		{"faults: []\n---\nfaults: []", "something follows the first document"},
		{"faults: [3]", "line 1: a fault is not a mapping"},
		{"faults:\n- {probability: 1}", "line 2: step is missing"},
		{"faults:\n- {step: write}", "line 2: probability is missing"},
		{"faults:\n- {step: write, probability: 1.5}", `line 2: "1.5" is not a probability; write: probability: a number from 0 to 1`},
		{"faults:\n- {step: write, probability: .nan}", `".nan" is not a probability`},
		{"faults:\n- {step: write, probability: \"1\"}", `"1" is not a probability`},
		{"faults:\n- {step: write, probability: 1, role: sever}", `line 2: role cannot be "sever" here; write: role: management-switch or`},
		{"faults:\n- {step: write, probability: 1, kind: loud}", `kind cannot be "loud" here; write: kind: error or silent`},
		{"faults:\n- {step: first-contact, probability: 1, kind: error}", `kind cannot be "error" here; write: kind: silent`},
		{"faults:\n- {step: data-cable, probability: 1, scope: device}", `scope cannot be "device" here; write: scope: cable`},
		{"faults:\n- {step: write, step: write, probability: 1}", "line 2: step is there twice"},
		{"faults:\n- &a {step: write, probability: 1}\n- *a", "line 2: anchors and aliases are not read"},
		{"faults:\n- {step: write, probability: 1, reason: \"a\\x1bb\"}", "cannot be printed"},
		{strings.Repeat("#", MaxFaultFile+1), "the file has 65537 bytes"},
		{"faults: [" + strings.Repeat("{}, ", MaxFaults+1) + "]", "there are 501 faults"},
	} {
		_, err := ParseFaults([]byte(tt.file))
		var p Problems
		if !errors.As(err, &p) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v\nwant %s", tt.file, err, tt.want)
		}
	}
}

// TestRealisticFaultsFit: every row names a step that its role has on the
// simulated platforms, and can happen there.
func TestRealisticFaultsFit(t *testing.T) {
	for _, f := range Realistic().List() {
		if f.Probability <= 0 || f.Probability > 0.1 || f.Reason == "" || f.Source == "" || f.Mark != Estimate {
			t.Errorf("%+v", f)
		}
		fits := false
		for _, p := range platform.All() {
			d := rack.Device{Role: f.Role, MACs: []string{"x"}, Data: []rack.Port{{Device: "tor-1", Name: "1"}}}
			if !p.Fits(f.Role) {
				continue
			}
			ok, why := f.befalls(&d, &p)
			fits = fits || ok
			if why != "" {
				t.Error(why)
			}
		}
		if !fits {
			t.Errorf("%+v befalls nobody", f)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, seed := range []string{"", "faults: []", "faults: [" + exampleFault + "]", "faults:\n- &a {step: write}\n- *a",
		"faults:\n- {step: data-cable, probability: 1, scope: cable}", "a: &a [*a]", "---\n---", "faults: [{? [a] : b}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseFaults(data)
		if err != nil {
			var p Problems
			if !errors.As(err, &p) || len(p) == 0 || len(p) > maxProblems {
				t.Fatalf("%T with %d problems", err, len(p))
			}
			for _, x := range p {
				if x.What == "" || x.Fix == "" {
					t.Fatalf("%+v", x)
				}
			}
			return
		}
		for _, x := range got.List() {
			if x.Step == "" || x.Reason == "" || !(x.Probability >= 0 && x.Probability <= 1) || (x.Role != "" && !x.Role.Valid()) {
				t.Fatalf("accepted %+v", x)
			}
		}
	})
}
