package rackfile

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// FuzzRackFile: whatever the bytes, Parse ends with a rack that validates or with
// problems that each say where, what and what to write, on one printable line.
func FuzzRackFile(f *testing.F) {
	seeds := []string{"", "a", "{", "[]", "a: *b", "&a [*a]", "- - - -", "? a", "\xff\xfe", "!!binary a", "%YAML 9.9\n---\n", whole, whole + "inventory: r.csv\n",
		strings.Replace(whole, "name: r1", "name: {}", 1), strings.Replace(whole, "{1..2}", "{1..1000}", 1), strings.Replace(whole, "devices:", "devices: &d", 1),
		strings.Replace(whole, "links:", "<<: {}\nlinks:", 1), strings.ReplaceAll(whole, "192.168", "::1"), strings.Replace(whole, "data: [", "data: [[", 1),
		string(withVLANs(homeVLAN, "  - {name: tenants, id: 200, tagged: [uplink, server, outside]}")), string(withVLANs("  - {name: a, id: 1, untagged: [x, x, x], tagged: [agent, agent, agent]}"))}
	for _, file := range []string{"rack-1.yaml", "rack-2.yaml", "rack-42u.yaml"} {
		b, err := os.ReadFile("../../examples/" + file)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, string(b))
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse("r.yaml", data, opened(goodInventory), table())
		if err == nil {
			if p := rack.Validate(r, table()); len(p) > 0 {
				t.Fatalf("accepted, but %+v", p)
			}
			if len(r.Devices) > MaxDevices || len(r.Links) > MaxLinks {
				t.Fatal("a bound does not hold")
			}
			return
		}
		holdsProblems(t, err)
	})
}

// holdsProblems holds what must be true of every message.
func holdsProblems(t *testing.T, err error) {
	t.Helper()
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
}

// FuzzInventory: whatever the bytes, what is accepted is clean.
func FuzzInventory(f *testing.F) {
	for _, s := range []string{"", "slot,mac,serial", goodInventory, "\ufeff" + goodInventory, strings.ReplaceAll(goodInventory, "\n", "\r\n"),
		"slot,mac,serial\n\"a,b\n", "slot,mac,serial\na\"b,,\n", "slot,mac,serial\na,01:00:00:00:00:00,\n", "slot,mac,serial\na,,\x1b[2J\n", "slot;mac;serial\n", "slot,mac,serial\na,b\n\n,,\n", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, problems := parseInventory("i.csv", data)
		if len(problems) > 0 {
			holdsProblems(t, problems.Sorted())
			return
		}
		for _, it := range items {
			if it.slot == "" || it.line < 2 || len(it.macs) != len(it.macLines) || len(it.macs) > MaxMACs || len(it.serial) > maxSerial || (len(it.macs) == 0 && it.serial == "") {
				t.Fatalf("accepted: %+v", it)
			}
			for _, m := range it.macs {
				if a, err := net.ParseMAC(m); err != nil || a.String() != m || len(a) != 6 || a[0]&1 == 1 {
					t.Fatalf("MAC %q is accepted", m)
				}
			}
		}
	})
}

// TestInventory holds every message about an inventory, word by word.
func TestInventory(t *testing.T) {
	const head = "slot,mac,serial\n"
	for _, tt := range []struct{ name, csv, want string }{
		{"good", goodInventory, ""},
		{"byte order mark and CRLF", "\ufeff" + strings.ReplaceAll(goodInventory, "\n", "\r\n"), ""},
		{"empty", "", "i:1: the inventory is empty; write: slot,mac,serial"},
		{"header", "mac,slot,serial\n", "i:1: the first row is not the header; write: slot,mac,serial"},
		{"fields", head + "a,02:00:00:00:00:01\n\nb,,,\n", "i:2: the row has 2 fields, not 3; write: slot,mac,serial; several MACs separated by spaces\ni:4: the row has 4 fields, not 3; write: slot,mac,serial; several MACs separated by spaces"},
		{"quotes", head + "a,\"b,c\n", `i:2: not CSV: extraneous or missing " in quoted-field; write: a row such as server-01,02:00:00:00:00:01,SN1; quotes in pairs`},
		{"no slot", head + ",02:00:00:00:00:01,\n", "i:2: the row names no slot; write: the name of a device first"},
		{"nothing said", head + "a,,\n", `i:2: the row of "a" says nothing; write: a MAC or a serial number, or leave the row out`},
		{"MACs", head + "a,x ff:ff:ff:ff:ff:ff 00:00:00:00:00:00 02:00:00:00:00:00:00:01,\n", `i:2: "00:00:00:00:00:00" is not the MAC of a device; write: a MAC such as 02:00:5e:10:00:01
i:2: "02:00:00:00:00:00:00:01" is not the MAC of a device; write: a MAC such as 02:00:5e:10:00:01
i:2: "ff:ff:ff:ff:ff:ff" is not the MAC of a device; write: a MAC such as 02:00:5e:10:00:01
i:2: "x" is not the MAC of a device; write: a MAC such as 02:00:5e:10:00:01`},
		{"too many MACs", head + "a," + strings.Repeat("02:00:00:00:00:01 ", MaxMACs+1) + ",\n", `i:2: slot "a" has too many MACs; write: at most 64`},
		{"two serial numbers", head + "a,,S1\na,,S1\na,,S2\n", `i:4: slot "a" has two serial numbers: "S1" and "S2"; write: the same number in each row of a slot, or only in one`},
		{"serial number", head + "a,,S\x1b\n", `i:2: "S\x1b" is not a serial number; write: 1 to 64 printable ASCII characters`},
		{"size", head + strings.Repeat("a", MaxFileSize), "i: the file is larger than 1048576 bytes; write: one row for each device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := parseInventory("i", []byte(tt.csv))
			if got := problems.Sorted().Error(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
