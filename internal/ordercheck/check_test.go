package ordercheck

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// small has every shape that the rules know: ranges, two ToR switches, an
// inter-rack switch without a data cable of its own, two servers.
const small = `
devices:
  - {name: mgmt-1, role: management-switch}
  - {name: "tor-{1..2}", role: tor-switch, management: "mgmt-1:{45..46}", data: "mgmt-1:{43..44}"}
  - {name: inter-rack-1, role: inter-rack-switch, management: "mgmt-1:47"}
  - {name: "server-{01..02}", role: server, management: "mgmt-1:{1..2}", data: ["tor-1:{1..2}", "tor-2:{1..2}"]}
links:
  - {a: "tor-{1..2}:49", b: "inter-rack-1:{1..2}"}
  - {a: "tor-1:54", b: "external:datacenter"}
`

var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// record writes lines "kind device [via=a,b] [key=value]…" as the simulator does.
func record(events ...string) string {
	var b strings.Builder
	for i, e := range events {
		words := strings.Fields(e)
		via, detail := "", ""
		for _, w := range words[2:] {
			k, v, _ := strings.Cut(w, "=")
			if k == "via" {
				via = fmt.Sprintf(`,"via":["%s"]`, strings.ReplaceAll(v, ",", `","`))
				continue
			}
			detail += fmt.Sprintf(`,%q:%q`, k, v)
		}
		fmt.Fprintf(&b, `{"seq":%d,"time":%q,"kind":%q,"device":%q%s,"detail":{%s}}`+"\n",
			i+1, base.Add(time.Duration(i)*time.Second).Format(time.RFC3339Nano), words[0], strings.Trim(words[1], "-"), via, strings.TrimPrefix(detail, ","))
	}
	return b.String()
}

// good is a run in the right order.
func good() []string {
	return []string{
		"bmc-command mgmt-1 command=session",
		"bmc-boot-device mgmt-1 command=set",
		"bmc-power mgmt-1 command=cycle",
		"packet mgmt-1 protocol=dhcp network=management direction=from-device",
		"dropped tor-1 reason=no-path",
		"dropped 192.168.100.9 reason=nobody-has-the-address",
		"image-byte mgmt-1",
		"install-completed mgmt-1",
		"forwarding-started mgmt-1",
		"receipt-read mgmt-1",
		"packet tor-1 via=mgmt-1 protocol=dhcp network=management",
		"packet tor-2 via=mgmt-1 protocol=dhcp network=management",
		"packet inter-rack-1 via=mgmt-1 protocol=dhcp network=management",
		"packet server-01 via=mgmt-1 protocol=dhcp network=management",
		"bmc-command server-01 via=mgmt-1 command=session",
		"image-byte tor-1 via=mgmt-1", "image-byte tor-2 via=mgmt-1", "image-byte inter-rack-1 via=mgmt-1",
		"install-completed tor-1", "install-completed tor-2", "install-completed inter-rack-1",
		"forwarding-started tor-1", "receipt-read tor-1",
		"forwarding-started tor-2", "receipt-read tor-2",
		"forwarding-started inter-rack-1", "receipt-read inter-rack-1",
		"bmc-boot-device server-01 via=mgmt-1", "bmc-power server-01 via=mgmt-1 command=on",
		"bmc-boot-device server-02 via=mgmt-1", "bmc-power server-02 via=mgmt-1 command=on",
		"packet server-01 via=mgmt-1,tor-1 protocol=dhcp network=data",
		"packet server-02 via=mgmt-1,tor-2 protocol=dhcp network=data",
		"image-byte server-01 via=mgmt-1,tor-1", "image-byte server-02 via=mgmt-1,tor-2",
		"install-completed server-01", "install-completed server-02",
		"receipt-read server-01", "receipt-read server-02",
		"dropped-total - count=7",
	}
}

// without takes a line out; early puts one before another.
func without(events []string, line string) []string {
	return slices.DeleteFunc(slices.Clone(events), func(e string) bool { return e == line })
}

func early(events []string, line, before string) []string {
	i := slices.Index(events, before)
	if i < 0 {
		panic("no such line: " + before)
	}
	return slices.Insert(slices.Clone(events), i, line)
}

func TestCheck(t *testing.T) {
	g := good()
	for _, tt := range []struct {
		name   string
		record []string
		want   []string // "rule device not-ready…"
	}{
		{"good", g, nil},
		{"a packet of a ToR before the management switch forwards", early(g, "packet tor-1 network=management", "forwarding-started mgmt-1"), []string{"1 tor-1 mgmt-1"}},
		{"a BMC is read before the management switch forwards", early(g, "bmc-command server-02", "forwarding-started mgmt-1"), []string{"1 server-02 mgmt-1"}},
		{"an image to a ToR before the management switch forwards", early(g, "image-byte tor-2", "forwarding-started mgmt-1"), []string{"1 tor-2 mgmt-1"}},
		{"a data packet while no ToR forwards", early(g, "packet server-01 network=data", "forwarding-started tor-1"), []string{"1 server-01 tor-1 tor-2"}},
		{"a data packet by the ToR that does not forward yet", early(g, "packet server-01 network=data via=mgmt-1,tor-2", "forwarding-started tor-2"), []string{"1 server-01 tor-2"}},
		{"a data packet by a way that is not cabled", append(slices.Clone(g), "packet server-01 network=data via=mgmt-1,inter-rack-1"), []string{"1 server-01"}},
		{"a data packet by an unknown switch", append(slices.Clone(g), "packet server-01 network=data via=mgmt-1,tor-9"), []string{"1 server-01"}},
		{"touched after the switch stopped", append(slices.Clone(g), "forwarding-stopped mgmt-1", "packet tor-1 network=management"), []string{"1 tor-1 mgmt-1"}},
		{"one ToR stopped, the other carries on", append(slices.Clone(g), "forwarding-stopped tor-1", "packet server-01 network=data via=mgmt-1,tor-2"), nil},
		{"power before the last receipt", early(g, "bmc-power server-01", "receipt-read inter-rack-1"), []string{"2 server-01 inter-rack-1"}},
		{"boot device before the last switch forwards", early(g, "bmc-boot-device server-02", "forwarding-started inter-rack-1"), []string{"2 server-02 inter-rack-1"}},
		{"an image byte before a receipt", early(g, "image-byte server-01 via=mgmt-1,tor-1", "receipt-read tor-2"), []string{"2 server-01 tor-2 inter-rack-1"}},
		{"a switch whose receipt nobody read", without(g, "receipt-read tor-2"), []string{
			"2 server-01 tor-2", "2 server-01 tor-2", "2 server-02 tor-2", "2 server-02 tor-2", "2 server-01 tor-2", "2 server-02 tor-2"}},
		{"a management switch that never forwarded", without(g, "forwarding-started mgmt-1")[:10], []string{"1 tor-1 mgmt-1"}},
		{"both rules at once", early(g, "image-byte server-01", "forwarding-started mgmt-1"), []string{"1 server-01 mgmt-1 tor-1 tor-2", "2 server-01 mgmt-1 tor-1 tor-2 inter-rack-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Check(strings.NewReader(small), strings.NewReader(record(tt.record...)))
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, v := range got {
				have = append(have, strings.TrimSpace(fmt.Sprintf("%d %s %s", v.Rule, v.Device, strings.Join(v.NotReady, " "))))
			}
			if !slices.Equal(have, tt.want) {
				t.Errorf("got %q\nwant %q\n%v", have, tt.want, got)
			}
		})
	}
}

func TestViolationSaysWhatWhenAndWhich(t *testing.T) {
	got, err := Check(strings.NewReader(small), strings.NewReader(record(early(good(), "bmc-power server-01 command=on", "receipt-read inter-rack-1")...)))
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	want := "rule 2: server-01: bmc-power (on) before every switch was ready at 2026-01-01T00:00:26Z (line 27); not ready: inter-rack-1"
	if got[0].String() != want {
		t.Errorf("got  %s\nwant %s", got[0], want)
	}
}

// TestOverTheLinks: a server behind a switch that only a link leads to.
func TestOverTheLinks(t *testing.T) {
	const far = small + `
  - {a: "inter-rack-1:9", b: "tor-2:50"}
`
	rack := strings.Replace(far, `data: ["tor-1:{1..2}", "tor-2:{1..2}"]`, `data: "inter-rack-1:{11..12}"`, 1)
	ready := good()[:slices.Index(good(), "bmc-boot-device server-01 via=mgmt-1")]
	for _, tt := range []struct {
		events []string
		bad    bool
	}{
		{append(slices.Clone(ready), "packet server-01 network=data via=mgmt-1,tor-1,inter-rack-1"), false},
		{append(slices.Clone(ready), "forwarding-stopped tor-1", "packet server-01 network=data"), false},
		{append(slices.Clone(ready), "forwarding-stopped tor-1", "forwarding-stopped tor-2", "packet server-01 network=data"), true},
		{append(slices.Clone(ready), "forwarding-stopped inter-rack-1", "packet server-01 network=data"), true},
	} {
		got, err := Check(strings.NewReader(rack), strings.NewReader(record(tt.events...)))
		if err != nil || (len(got) > 0) != tt.bad {
			t.Errorf("%s: %v %v", tt.events[len(ready):], got, err)
		}
	}
}

func TestCheckOverlap(t *testing.T) {
	g := good()
	move := func(line, before string) []string { return early(without(g, line), line, before) }
	for _, tt := range []struct {
		name   string
		record []string
		want   []string // devices of the violations
	}{
		{"good", g, nil},
		{"switches one after the other", slices.Concat(g[:15], []string{
			"image-byte tor-1", "install-completed tor-1", "image-byte tor-2", "install-completed tor-2", "image-byte inter-rack-1", "install-completed inter-rack-1"}, g[21:]),
			[]string{"tor-1", "tor-2", "inter-rack-1"}},
		{"one switch alone", slices.Concat(g[:15], []string{
			"image-byte inter-rack-1", "install-completed inter-rack-1", "image-byte tor-1", "image-byte tor-2", "install-completed tor-1", "install-completed tor-2"}, g[21:]),
			[]string{"inter-rack-1"}},
		{"a switch that was never installed", without(g, "install-completed tor-2"), []string{"tor-2"}},
		{"servers one after the other", move("install-completed server-01", "image-byte server-02 via=mgmt-1,tor-2"), []string{"server-01", "server-02"}},
		{"only one server was installed", without(g, "install-completed server-02"), []string{"server-01", "server-01"}},
		{"an attempt that failed counts", slices.Concat(g[:len(g)-5], []string{"install-failed server-01", "install-completed server-02", "image-byte server-01", "install-completed server-01", "receipt-read server-01"}), nil},
		{"servers heard only after the switches", without(without(g, "packet server-01 via=mgmt-1 protocol=dhcp network=management"), "bmc-command server-01 via=mgmt-1 command=session"), []string{"servers"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := CheckOverlap(strings.NewReader(small), strings.NewReader(record(tt.record...)))
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, v := range got {
				have = append(have, v.Device)
				if v.Rule != 3 || (v.Seq > 0) == v.Time.IsZero() {
					t.Errorf("badly filled: %+v", v)
				}
			}
			if !slices.Equal(have, tt.want) {
				t.Errorf("got %q want %q: %v", have, tt.want, got)
			}
		})
	}
}

// TestProvesNothing: what cannot be read, or proves nothing, is never a pass.
func TestProvesNothing(t *testing.T) {
	ok := record(good()...)
	lines := strings.SplitAfter(ok, "\n")
	for _, tt := range []struct{ name, rack, record, want string }{
		{"empty record", small, "", "proves nothing"},
		{"a line is missing", small, lines[0] + strings.Join(lines[2:], ""), "line 2 of the record has number 3"},
		{"not JSON", small, ok + "{", "line 41 of the record"},
		{"unknown kind", small, record("teleported tor-1"), `unknown kind "teleported"`},
		{"unknown device", small, record("packet tor-9 network=data"), `no device "tor-9"`},
		{"no device", small, record("bmc-power -"), `no device ""`},
		{"packet without network", small, record("packet tor-1"), "no known network"},
		{"packet on an unknown network", small, record("packet tor-1 network=moon"), "no known network"},
		{"no management switch", "devices: []", ok, "no management switch"},
		{"not YAML", "devices: {", ok, "read the rack file"},
		{"bad data", "devices: [{name: a, data: {x: y}}]", ok, "read the rack file"},
		{"bad range", strings.Replace(small, "{1..2}", "{2..1}", 1), ok, "not a range"},
		{"ranges not in step", strings.Replace(small, "{45..46}", "{45..47}", 1), ok, "counts 3"},
		{"device twice", strings.Replace(small, "server-{01..02}", "tor-{1..2}", 1), ok, "given twice"},
		{"huge rack file", strings.Repeat("#", maxFile+1), ok, "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Check(strings.NewReader(tt.rack), strings.NewReader(tt.record)); err == nil || !strings.Contains(err.Error(), tt.want) || got != nil {
				t.Errorf("got %v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "": "", "tor-{1..3}": "tor-1 tor-2 tor-3", "s{08..11}x": "s08x s09x s10x s11x",
		"tor-{1..2}:{5..6}": "tor-1:5 tor-2:6", "{1..2}-{1..3}": "!", "{1..x}": "!", "}{": "!", "{": "!", "{..}": "!", "{1..2000}": "!",
	} {
		got, err := expand(in)
		if have := strings.Join(got, " "); (err != nil) != (want == "!") || (err == nil && have != want) {
			t.Errorf("expand(%q) = %q, %v", in, have, err)
		}
	}
}

// TestExamples reads the cabling of every example rack and counts it.
func TestExamples(t *testing.T) {
	for file, want := range map[string]string{
		"rack-1.yaml": "9 3 mgmt-1", "rack-2.yaml": "11 5 mgmt-1", "rack-42u.yaml": "42 5 mgmt-1",
	} {
		f, err := os.Open("../../examples/" + file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := readCabling(f)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %d %s", len(c.names), len(c.switches()), c.gate); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
		for _, name := range c.names {
			if c.role[name] == server && (len(c.data[name]) != 2 || c.management[name] != "mgmt-1") {
				t.Errorf("%s: %s is cabled to %v and %q", file, name, c.data[name], c.management[name])
			}
		}
	}
}
