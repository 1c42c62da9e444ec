package classify

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzClassify: whatever the options, a decision is bounded and printable, and is
// explained as it was taken.
func FuzzClassify(f *testing.F) {
	for _, x := range rows {
		f.Add(append(append([]byte{}, x.p.raw...), 255))
	}
	own, err := Parse("r", []byte(everyWay))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, options []byte) {
		p := dhcpv4.Options{}
		if err := p.FromBytes(options); err != nil {
			return
		}
		for _, r := range []*Rules{Default(), own} {
			checkDecision(t, r, Packet{Options: OptionsOf(p), MAC: []byte{0, 0x25, 0x90, 1, 2, 3}})
		}
	})
}

func checkDecision(t *testing.T, r *Rules, p Packet) {
	t.Helper()
	got := r.Classify(p)
	for _, s := range []string{got.Vendor, got.Model, got.Serial, got.Arch} {
		if len(s) > MaxString {
			t.Fatalf("%d characters: %q", len(s), s)
		}
	}
	e := r.Explain(p)
	if e.Class != got {
		t.Fatalf("explained as %+v, classified as %+v", e.Class, got)
	}
	shown := []string{got.Vendor, got.Model, got.Serial, got.Arch, got.Evidence}
	for _, s := range e.Steps {
		shown = append(append(shown, s.Matched...), s.Passed)
		if (s.Passed == "") != (len(s.Gave) > 0) || s.Rule == "" || len(s.Matched) == 0 {
			t.Fatalf("%+v", s)
		}
	}
	sent := p.Sent()
	if len(sent) > maxSent {
		t.Fatalf("%d options", len(sent))
	}
	shown = append(shown, sent...)
	for _, m := range e.Missed {
		shown = append(shown, m.Why)
	}
	for _, s := range shown {
		if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("not printable: %q", s)
		}
	}
	if len(got.Evidence) > maxEvidence || got.Stage == "" {
		t.Fatalf("%+v", got)
	}
}

// everyWay is a file that looks at options in every way.
const everyWay = head + `rules:
  - name: a
    when: {60: ["A;{model};{};{serial}", "A{vendor:3}{arch*}-x{}"], 61: "\xff{:4}\x00{serial}", 12: {present: true}}
    read: {77: "{model}", 94: "1.{}", 97: "4c4c4544-{serial}"}
    class: switch
    stage: nos
  - name: b
    when: {55: {asks: [1, 3]}, 43/1: {present: false}}
    vendor: B
  - name: c
    when: {55: {list: [1, 3]}, 93: [7, 9], 175/0xb1: "\x01{}"}
    read: {124/9: {separator: ";", equals: ":", fields: {SN: "{serial}", PID: "{model}"}}, 125/9/1: "{arch-number}"}
    stage: pxe
  - name: d
    when: {60: {separator: " ", equals: "=", fields: {TY: "{model}"}}}
    stage: bmc
architectures: {7: x64}
ouis: [{vendor: D, prefixes: ["002590"]}]
`

// FuzzRules: whatever the bytes, a rules file ends as rules that can be used or as
// problems that each say where, what and what to write, on one printable line.
func FuzzRules(f *testing.F) {
	seeds := []string{"", "a", "{", "[]", "a: *b", "&a [*a]", "? a", "\xff\xfe", "!!binary a", head, everyWay,
		strings.Replace(everyWay, "stage: nos", "stage: &a nos", 1), strings.Replace(everyWay, "{model}", "{model", 1), strings.Replace(everyWay, "name: b", "name: a", 1)}
	for _, name := range embeddedFiles[:2] {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, string(b))
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse("r.yaml", data)
		if err == nil {
			if len(r.sources) > maxSources || len(r.rules) > MaxRules+len(Default().rules) {
				t.Fatal("a bound does not hold")
			}
			for _, x := range rows {
				checkDecision(t, r, Packet{Options: x.p.get, MAC: []byte{0, 0x25, 0x90, 1, 2, 3}})
			}
			return
		}
		var all Problems
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("not problems: %v", err)
		}
		for i, p := range all {
			if p.File == "" || p.Line < 0 || p.What == "" || p.Fix == "" || (i > 0 && p == all[i-1]) {
				t.Fatalf("not a problem that helps: %+v", p)
			}
			for _, c := range p.String() {
				if c < ' ' || c == 0x7f || c == '\uFFFD' {
					t.Fatalf("a message holds %q: %q", c, p.String())
				}
			}
		}
	})
}
