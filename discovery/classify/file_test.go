package classify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

const head = "apiVersion: rackreach/v1\nkind: Classification\n"

// oneRule is a file with one rule, whose first line is line 4.
func oneRule(lines string) string {
	return head + "rules:\n  - name: x\n    " + strings.ReplaceAll(lines, "\n", "\n    ")
}

// TestWhatARulesFileMayNotSay holds every message, word by word.
func TestWhatARulesFileMayNotSay(t *testing.T) {
	const classes, stageWords = "firmware, switch, host, bmc, dpu, console-server, firewall, access-point", "pxe, ipxe, http-boot, onie, nos, os, bmc"
	const when = `when: {60: "Vendor;{model};{serial}"}`
	for _, x := range []struct{ name, text, want string }{
		{"good", oneRule("when: {60: x}\nvendor: X"), ""},
		{"empty", "", "r:1: the file is empty; write: apiVersion: rackreach/v1, kind: Classification and rules"},
		{"large", strings.Repeat("#", MaxFileSize+1), "r: the file is larger than 262144 bytes; write: only the rules that are your own: ours are there without it"},
		{"no header", "rules: []", "r:1: apiVersion is missing; write: apiVersion: rackreach/v1\nr:1: kind is missing; write: kind: Classification\nr:1: rules is not a list; write: a list: each rule begins with - name:"},
		{"another kind", "apiVersion: rackreach/v1\nkind: Rack\nrules: [{name: x, when: {60: x}, vendor: X}]", `r:2: kind is "Rack", which this version does not read; write: Classification`},
		{"nothing", head, "r:1: the file says nothing; write: rules: and a list of them"},
		{"unknown key", oneRule("when: {60: x}\nvendor: X\nstep: nos"), `r:7: unknown key "step" in a rule; write: one of name, when, read, class, stage, vendor, model, arch, source, mark`},
		{"no name", head + "rules:\n  - when: {60: x}\n    vendor: X", "r:4: name is missing; write: name: and a name such as acme-switch, of small letters, digits and hyphens"},
		{"a bad name", head + "rules:\n  - name: Acme Switch\n    when: {60: x}\n    vendor: X", `r:4: "Acme Switch" is not a name; write: name: and a name such as acme-switch, of small letters, digits and hyphens`},
		{"the name of a table", head + "rules:\n  - name: ouis\n    when: {60: x}\n    vendor: X", `r:4: "ouis" is not a name; write: name: and a name such as acme-switch, of small letters, digits and hyphens`},
		{"a name twice", oneRule("when: {60: x}\nvendor: X") + "\n  - name: x\n    when: {60: y}\n    vendor: X", "r:7: a rule named x stands before it; write: another name"},
		{"no when", oneRule("vendor: X"), "r:4: when is missing: the rule would apply to everything; write: " + when},
		{"an empty when", oneRule("when: {}\nvendor: X"), `r:5: when is empty; write: an option and its text: {60: "Vendor;{model}"}`},
		{"when is text", oneRule("when: x\nvendor: X"), `r:5: when is not a set of keys and values; write: an option and its text: {60: "Vendor;{model}"}`},
		{"only what is not there", oneRule("when: {60: {present: false}}\nvendor: X"), "r:5: when says only what is not there; write: an option that is there too"},
		{"says nothing", oneRule("when: {60: x}"), "r:4: the rule says nothing of who it recognises; write: class:, stage: or vendor:, or a hole such as {model}"},
		{"an unknown class", oneRule("when: {60: x}\nclass: swich"), `r:6: "swich" is not a class; write: one of ` + classes},
		{"an unknown stage", oneRule("when: {60: x}\nstage: unknown"), `r:6: "unknown" is not a stage; write: one of ` + stageWords},
		{"an unknown mark", oneRule("when: {60: x}\nvendor: X\nmark: E"), `r:7: "E" is not a mark; write: one of V, S, D, R, O`},
		{"a vendor that a terminal would obey", oneRule("when: {60: x}\nvendor: \"\\x1b[2J\""), `r:6: "\x1b[2J" is not a vendor; write: 1 to 64 printable ASCII characters`},
		{"55 alone decides no stage", oneRule("when: {55: {asks: [239]}}\nstage: nos"), "r:4: what a client asks for (option 55) tells neither its stage nor its model: others ask for the same; write: an option that the device says its name in, or only class: and vendor:"},
		{"no option", oneRule("when: {vendor: x}\nvendor: X"), `r:5: "vendor": it is not an option; write: the number of an option, such as 60, or of a sub-option, such as "43/1", "124/9" or "125/42623/3"`},
		{"option 0", oneRule("when: {0: x}\nvendor: X"), `r:5: "0": there is no such option; write: a number from 1 to 254`},
		{"option 82", oneRule("when: {82/1: x}\nvendor: X"), `r:5: "82/1": option 82 is the relay's word, not the device's; write: another option`},
		{"no enterprise", oneRule("when: {124: x}\nvendor: X"), `r:5: "124": whose? options 124 and 125 begin with the number of an enterprise; write: the number too, such as "124/9" or "125/42623/3"`},
		{"a part of 60", oneRule("when: {60/1: x}\nvendor: X"), `r:5: "60/1": it has no such part; write: the number of an option, such as 60, or of a sub-option, such as "43/1", "124/9" or "125/42623/3"`},
		{"a long sub-option", oneRule("when: {43/256: x}\nvendor: X"), `r:5: "43/256": there is no such sub-option; write: a number from 0 to 255`},
		{"an option twice", oneRule("when: {60: x, 0x3c: y}\nvendor: X"), "r:5: option 60 is given twice in when; write: it once"},
		{"too many options", oneRule("when: {1: x, 2: x, 3: x, 4: x, 5: x, 6: x, 7: x, 8: x, 9: x}\nvendor: X"), "r:5: when names 9 options; write: at most 8"},
		{"an alias", oneRule("when: {60: &a x}\nvendor: X"), "r:5: an anchor or alias at option 60: these files have none; write: the value itself"},
		{"a pattern", oneRule("when: {60: \"{modell}\"}\nvendor: X"), `r:5: pattern "{modell}": there is no {modell}; write: {vendor}, {model}, {serial}, {arch}, {arch-number}, or {} for what is passed over`},
		{"a pattern in a list", oneRule("when:\n  60:\n    - x\n    - \"{a\"\nvendor: X"), `r:8: pattern "{a": a { without its }; write: {model}, or {{ for the character itself`},
		{"a pattern for nothing", oneRule("when: {60: \"\\0\"}\nvendor: X"), `r:5: pattern "\x00" fits no value; write: {present: true} when any value will do`},
		{"an empty pattern", oneRule("when: {60: \"\"}\nvendor: X"), `r:5: a pattern is empty; write: a text, with holes for what differs: "Vendor;{model};{serial}"`},
		{"too many patterns", oneRule("when: {60: [a, b, c, d, e, f, g, h, i]}\nvendor: X"), "r:5: option 60 has 9 items; write: at most 8"},
		{"55 as text", oneRule("when: {55: x}\nvendor: X"), "r:5: option 55 is a list of numbers; write: {asks: [67, 239]} when it must ask for these, or {list: [1, 3, 6]} for this list exactly"},
		{"55 asks for 300", oneRule("when: {55: {asks: [300]}}\nvendor: X"), `r:5: option 55: "300" is not a number from 0 to 255; write: a list of options: [67, 239]`},
		{"93 as text", oneRule("when: {93: x64}\nvendor: X"), `r:5: option 93: "x64" is not a number from 0 to 65535; write: a number such as 7, or a list of which one must be there: [7, 9]`},
		{"93 asks", oneRule("when: {93: {asks: [7]}}\nvendor: X"), "r:5: option 93 cannot be looked at in this way; write: a number such as 7, a list of them, {present: true} or {present: false}"},
		{"60 asks", oneRule("when: {60: {asks: [7]}}\nvendor: X"), `r:5: option 60 cannot be looked at in this way; write: a text, {present: true}, {present: false}, or {separator: ";", equals: ":", fields: {SN: "{serial}"}}`},
		{"55 and presence", oneRule("when: {55: {present: true, asks: [7]}}\nvendor: X"), "r:5: option 55 cannot be looked at in this way; write: {asks: [67, 239]}, {list: [1, 3, 6]}, {present: true} or {present: false}"},
		{"presence", oneRule("when: {60: {present: maybe}}\nvendor: X"), "r:5: option 60 is neither there nor not; write: {present: true} or {present: false}"},
		{"an unknown way", oneRule("when: {60: {prefix: x}}\nvendor: X"), "r:5: option 60 cannot be looked at in this way; write: a text, {present: true}, {present: false}, or {separator: \";\", equals: \":\", fields: {SN: \"{serial}\"}}\nr:5: unknown key \"prefix\" in option 60; write: one of present, asks, list, separator, equals, fields"},
		{"fields without keys", oneRule("when: {60: {separator: \";\", equals: \":\", fields: {}}}\nvendor: X"), `r:5: fields of option 60 has no key, or more than 8; write: {SN: "{serial}", PID: "{model}"}`},
		{"an empty separator", oneRule("when: {60: {separator: \"\", equals: \":\", fields: {a: b}}}\nvendor: X"), `r:5: separator is empty; write: separator: ";" and equals: ":" for SN:1;PID:2`},
		{"read of what is only there", oneRule("when: {60: x}\nread: {61: {present: true}}\nvendor: X"), `r:6: option 61 is read, but nothing is taken from it; write: a text with holes, such as "{serial}"`},
		{"architectures", head + "architectures: {x: y, 7: x86}", `r:3: "x" is not a number from 0 to 65535; write: a number of option 93 and a name: {7: x86_64-uefi}`},
		{"an OUI", head + "ouis:\n  - {vendor: X, prefixes: [\"00:25:90\", 2c600, \"002590\"]}", "r:4: \"2c600\" is not the beginning of a MAC; write: the first three bytes of a MAC, in quotes: \"2C600C\"\nr:4: prefix \"002590\" stands there twice, also for X; write: it once"},
		{"an OUI of nobody", head + "ouis:\n  - {prefixes: [\"002590\"]}", "r:4: an item of ouis has no vendor or no prefixes; write: {vendor: Quanta, prefixes: [2C600C]}"},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := Parse("r", []byte(x.text))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != x.want {
				t.Errorf("got\n%s\nwant\n%s", got, x.want)
			}
		})
	}
}

// TestManyOptions: all rules together look at a bounded number of places.
func TestManyOptions(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "rules:\n")
	for i := range maxSources {
		b.WriteString("  - {name: r" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ", when: {43/" + itoa(i) + ": x}, vendor: X}\n")
	}
	_, err := Parse("r", []byte(b.String()))
	if err == nil || !strings.HasPrefix(err.Error(), "r: all rules together look at ") || !strings.HasSuffix(err.Error(), "more than 64; write: rules on fewer options") {
		t.Errorf("%v", err)
	}
}

func itoa(i int) string { return string(rune('0'+i/10)) + string(rune('0'+i%10)) }

// TestShadowed: a rule that can never say anything is found, with the rule that
// stands before it; one that may is left alone.
func TestShadowed(t *testing.T) {
	for _, x := range []struct{ name, first, second, want string }{
		{"the same text", "when: {60: a}\nstage: nos", "when: {60: a}\nstage: os", "decides stage nos"},
		{"a longer text", "when: {60: \"a{}\"}\nstage: nos", "when: {60: \"ab{}\"}\nstage: os\nvendor: X", "decides stage nos"},
		{"a shorter text", "when: {60: \"ab{}\"}\nstage: nos", "when: {60: \"a{}\"}\nstage: os", ""},
		{"one of two texts", "when: {60: [a, b]}\nstage: nos", "when: {60: [b, c]}\nstage: os", ""},
		{"both texts", "when: {60: [\"a{}\", b]}\nstage: nos", "when: {60: [b, ab]}\nstage: os", "decides stage nos"},
		{"one more condition", "when: {60: a}\nstage: nos", "when: {60: a, 61: b}\nstage: os", "decides stage nos"},
		{"one condition less", "when: {60: a, 61: b}\nstage: nos", "when: {60: a}\nstage: os", ""},
		{"the same stage, and more", "when: {60: a}\nstage: nos", "when: {60: a}\nstage: nos\nvendor: X", ""},
		{"the same stage, and a hole more", "when: {60: \"a{}\"}\nstage: nos\nvendor: X", "when: {60: \"a{model}\"}\nstage: nos\nvendor: X", ""},
		{"the same stage, nothing more", "when: {60: a}\nstage: nos\nvendor: X\nclass: switch", "when: {60: a}\nstage: nos\nvendor: Y", "says all that it says"},
		{"no stage before", "when: {60: a}\nvendor: X", "when: {60: a}\nstage: nos", ""},
		{"no stage after", "when: {60: a}\nstage: nos", "when: {60: a}\nvendor: X", ""},
		{"there at all", "when: {175: {present: true}}\nstage: nos", "when: {175: \"a{}\"}\nstage: os", "decides stage nos"},
		{"there and not", "when: {60: a, 61: {present: false}}\nstage: nos", "when: {60: a, 61: {present: true}}\nstage: os", ""},
		{"both not there", "when: {60: a, 61: {present: false}}\nstage: nos", "when: {60: a, 61: {present: false}}\nstage: os", "decides stage nos"},
		{"fewer numbers", "when: {93: [7, 9]}\nstage: nos", "when: {93: 9}\nstage: os", "decides stage nos"},
		{"more numbers", "when: {93: 9}\nstage: nos", "when: {93: [7, 9]}\nstage: os", ""},
		{"asks for more", "when: {60: \"{}\", 55: {asks: [1]}}\nstage: nos", "when: {60: a, 55: {list: [1, 2]}}\nstage: os", "decides stage nos"},
		{"asks for less", "when: {60: a, 55: {asks: [1, 2]}}\nstage: nos", "when: {60: a, 55: {asks: [1]}}\nstage: os", ""},
		{"the same fields", "when: {60: {separator: \";\", equals: \":\", fields: {a: b}}}\nstage: nos", "when: {60: {separator: \";\", equals: \":\", fields: {a: b}}}\nstage: os", "decides stage nos"},
		{"other fields", "when: {60: {separator: \";\", equals: \":\", fields: {a: b}}}\nstage: nos", "when: {60: {separator: \";\", equals: \":\", fields: {a: c}}}\nstage: os", ""},
		{"iPXE lets firmware in", "when: {60: a}\nstage: ipxe", "when: {60: a}\nstage: pxe", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			indent := func(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }
			text := head + "rules:\n  - name: one\n    " + indent(x.first) + "\n  - name: two\n    " + indent(x.second)
			line := itoa(5 + strings.Count(x.first, "\n") + 1)
			want := ""
			if x.want != "" {
				want = "r:" + strings.TrimLeft(line, "0") + ": rule two never says anything: one (line 4) applies whenever it does, and " + x.want + "; write: it before one, or leave it out"
			}
			_, err := Parse("r", []byte(text))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestARuleThatAnotherLetsIn may speak although the one before it applies too.
func TestARuleThatAnotherLetsIn(t *testing.T) {
	_, err := Parse("r", []byte(head+`rules:
  - {name: k, when: {77: k}, stage: ipxe}
  - {name: a, when: {60: a}, stage: nos}
  - {name: b, when: {60: a}, stage: pxe, vendor: B}`))
	if err != nil {
		t.Errorf("%v", err)
	}
}

// TestOwnRules come before the embedded ones, and take the place of those of the
// same name.
func TestOwnRules(t *testing.T) {
	r, err := Parse("r", []byte(head+`rules:
  - name: acme
    when: {60: "udhcp {}", 12: "acme-{serial}"}
    class: bmc
    stage: bmc
    vendor: Acme
  - name: dell-idrac
    when: {60: iDRAC}
    class: bmc
    stage: bmc
    vendor: ours
architectures: {7: x64, 0x1234: own}
ouis: [{vendor: Acme, prefixes: ["02:00:00", "002590"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		p    *options
		mac  []byte
		want Class
	}{
		{discover().str(60, "udhcp 1.35.0").str(12, "acme-7"), nil, Class{DeviceBMC, rack.StageBMC, "Acme", "", "7", "", `60="udhcp 1.35.0" 12="acme-7"`}},
		{discover().str(60, "udhcp 1.35.0").str(12, "other"), nil, Class{"", rack.StageOS, "busybox", "", "", "", `60="udhcp 1.35.0"`}},
		{discover().str(60, "iDRAC"), nil, Class{DeviceBMC, rack.StageBMC, "ours", "", "", "", `60="iDRAC"`}},
		{discover().opt(93, 0x12, 0x34), []byte{2, 0, 0, 1, 2, 3}, Class{DeviceFirmware, rack.StagePXE, "Acme", "", "", "own", "93=4660 oui=020000"}},
		{discover().opt(93, 0, 7), []byte{0, 0x25, 0x90, 1, 2, 3}, Class{DeviceFirmware, rack.StagePXE, "Acme", "", "", "x64", "93=7 oui=002590"}},
	} {
		if got := r.Classify(Packet{Options: x.p.get, MAC: x.mac}); got != x.want {
			t.Errorf("got  %+v\nwant %+v", got, x.want)
		}
	}
	if len(r.rules) != len(Default().rules)+1 {
		t.Errorf("%d rules", len(r.rules))
	}
}

// TestEveryWay holds the ways of looking that no embedded rule uses.
func TestEveryWay(t *testing.T) {
	for _, x := range []struct {
		when string
		p    *options
		want bool
	}{
		{`43/1: "abc"`, discover().opt(43, 2, 1, 'x', 1, 3, 'a', 'b', 'c'), true},
		{`43/1: "abc"`, discover().opt(43, 1, 9, 'a', 'b', 'c'), false},
		{`43: "abc"`, discover().str(43, "abc"), true},
		{`175/0xb1: "\x01{}"`, discover().opt(175, 0xb1, 2, 1, 2), true},
		{`125/9: "{}abc"`, discover().opt(125, 0, 0, 0, 9, 3, 'a', 'b', 'c'), true},
		{`94: "1.3.{}"`, discover().opt(94, 1, 3, 16), true},
		{`94: "1.3.16"`, discover().opt(94, 1, 3, 1), false},
		{`97: "4c4c4544-0042-3510-8052-{}"`, discover().opt(97, machineID()...), true},
		{`97: "4c4c4544-0042-3510-8052-b4c04f4e3132"`, discover().opt(97, machineID()...), true},
		{`97: {present: true}`, discover().opt(97, 1, 2), false},
		{`94: {present: true}`, discover().opt(94, 1), false},
		{`93: 7`, discover().opt(93, 0, 7, 0, 9), true},
		{`93: 9`, discover().opt(93, 0, 7, 0, 9), false},
		{`93: {present: true}`, discover().opt(93, 7), false},
		{`80: {present: true}`, discover().opt(80), true},
		{`80: {present: false}, 60: x`, discover().opt(80).str(60, "x"), false},
		{`60: {present: true}`, discover().str(60, "\x00"), false},
		{`60: "{}"`, discover().str(60, "x"), true},
		{`77: [a, b]`, discover().str(77, "\x01c\x01b"), true},
		{`77: [a, b]`, discover().str(77, "b"), true},
		{`55: {list: [1, 2]}`, discover().opt(55, 1, 2), true},
		{`55: {list: [1, 2]}`, discover().opt(55, 2, 1), false},
		{`55: {asks: [1, 2]}`, discover().opt(55, 2, 9, 1), true},
		{`60: {separator: " ", equals: "=", fields: {SN: "{serial}", TY: "A{model}"}}`, discover().str(60, "X TY=B TY=A1  SN=2"), true},
		{`60: {separator: " ", equals: "=", fields: {SN: "{serial}", TY: "A{model}"}}`, discover().str(60, "TY=A1"), false},
		{`124/9: abc`, discover().opt(124, 0, 0, 0, 8, 1, 'x', 0, 0, 0, 9, 4, 3, 'a', 'b', 'c'), true},
		{`77: "\x02b"`, discover().opt(77, 2, 'b'), true},
		{`125/9/1: abc`, discover().opt(125, 0, 0, 0, 8, 3, 1, 1, 'x', 0, 0, 0, 9, 5, 1, 3, 'a', 'b', 'c'), true},
		{`124/9: abc`, discover().opt(124, 0, 0, 0, 9, 9, 'a', 'b', 'c'), false},
	} {
		r, err := Parse("r", []byte(head+"rules: [{name: x, when: {"+x.when+"}, vendor: X}]"))
		if err != nil {
			t.Errorf("%s: %v", x.when, err)
			continue
		}
		if got := r.Classify(Packet{Options: x.p.get}).Vendor == "X"; got != x.want {
			t.Errorf("%s: %v", x.when, got)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.yaml")
	if _, err := Load(path); err == nil || !strings.HasSuffix(err.Error(), "r.yaml: cannot be read: no such file or directory; write: the path of a rules file") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte(oneRule("when: {60: x}\nvendor: X")), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Classify(Packet{Options: discover().str(60, "x").get}); got.Vendor != "X" {
		t.Errorf("%+v", got)
	}
}
