package classify

import (
	"reflect"
	"testing"
)

func TestExplain(t *testing.T) {
	r, err := Parse("r", []byte(head+`rules:
  - name: absent
    when: {60: "PXEClient{}", 77: {present: false}}
    stage: nos
  - name: other
    when: {60: toaster}
    vendor: X
  - name: gone
    when: {12: "a{}"}
    vendor: X
  - name: asking
    when: {60: "PXEClient{}", 55: {asks: [9]}}
    vendor: X
  - name: hinted
    when: {60: "PXEClient{}", 55: {asks: [1]}}
    read: {61: "\x01{serial}"}
    vendor: Acme`))
	if err != nil {
		t.Fatal(err)
	}
	got := r.Explain(Packet{Options: discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "iPXE").opt(93, 0, 7).opt(55, 1, 3).str(61, "\x01S").opt(175, 1, 0).get})
	if len(got.Steps) > 0 {
		for i := range got.Steps {
			got.Steps[i].Source = ""
		}
	}
	want := Explanation{
		Class: Class{DeviceFirmware, "ipxe", "Acme", "", "S", "x86_64-uefi", `60="PXEClient:Arch:00007:UNDI:003010" 55=1 77="iPXE" 175 93=7`},
		Steps: []Step{
			{Rule: "hinted", File: "r", Line: 16, Matched: []string{`60="PXEClient:Arch:00007:UNDI:003010"`, "55=1"}, Gave: []Said{{"vendor", "Acme", ""}, {"serial", "S", "61"}}},
			{Rule: "ipxe", File: "rules/devices.yaml", Line: 23, Mark: "V", Matched: []string{`77="iPXE"`}, Gave: []Said{{"class", "firmware", ""}, {"stage", "ipxe", ""}}},
			{Rule: "ipxe-options", File: "rules/devices.yaml", Line: 77, Mark: "V", Matched: []string{"175"}, Passed: "all that it says was said before it"},
			{Rule: "pxe-client", File: "rules/devices.yaml", Line: 125, Mark: "V", Matched: []string{`60="PXEClient:Arch:00007:UNDI:003010"`}, Gave: []Said{{"arch", "x86_64-uefi", "60"}}},
		},
		Open:  []string{"model"},
		Tried: len(Default().rules) + 5,
		Missed: []Miss{
			{"absent", 4, "option 77 is there"},
			{"other", 7, `60="PXEClient:Arch:00007:UNDI:003010" does not fit`},
			{"gone", 10, "option 12 is not there"},
			{"asking", 13, "55=1,3 does not fit"},
		},
	}
	for i, s := range got.Steps {
		if s.File != "r" && s.Line == 0 {
			t.Errorf("%s has no line", s.Rule)
		}
		if s.File != "r" && i < len(want.Steps) {
			want.Steps[i].Line = s.Line // the embedded files change
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestTablesAreExplained as rules are.
func TestTablesAreExplained(t *testing.T) {
	got := Default().Explain(Packet{Options: discover().str(60, "U-Boot.armv8").opt(93, 0, 22).get, MAC: []byte{0, 0x25, 0x90, 1, 2, 3}})
	if n := len(got.Steps); n != 2 || !reflect.DeepEqual(got.Steps[1], Step{Rule: "architectures", Matched: []string{"93=22"}, Gave: []Said{{"arch", "arm64-uboot", "93"}}}) {
		t.Errorf("%+v", got.Steps)
	}
	got = Default().Explain(Packet{Options: discover().get, MAC: []byte{0, 0x25, 0x90, 1, 2, 3}})
	if n := len(got.Steps); n != 1 || !reflect.DeepEqual(got.Steps[0], Step{Rule: "ouis", Matched: []string{"oui=002590"}, Gave: []Said{{"vendor", "Supermicro", "MAC"}}}) {
		t.Errorf("%+v", got.Steps)
	}
}

// TestAnotherStageIsPassedOver, and said so.
func TestAnotherStageIsPassedOver(t *testing.T) {
	got := Default().Explain(Packet{Options: discover().str(60, "udhcp 1.35.0").str(77, "\x14onie_dhcp_user_class").get})
	if len(got.Steps) != 2 || got.Steps[1].Passed != "it speaks of stage os; stage onie was decided before it" || len(got.Steps[1].Gave) != 0 {
		t.Errorf("%+v", got.Steps)
	}
	if len(got.Missed) != 0 {
		t.Errorf("%+v", got.Missed)
	}
}

func TestSent(t *testing.T) {
	p := discover().opt(53, 1).str(12, "a\x1b").opt(43, 1, 1, 'x', 2, 0).opt(55, 1, 3).opt(57, 2, 64).str(60, "ACME|AX").opt(61, 1, 2).str(77, "\x01a\x02bc").opt(80).
		opt(93, 0, 7, 0x12, 0x34).opt(94, 1, 3, 16).opt(97, machineID()...).opt(124, 0, 0, 0, 9, 2, 'S', 'N').opt(125, 0, 0, 0xa6, 0x7f, 3, 3, 1, 'm', 0, 0, 0, 9, 2, 9, 9).opt(175, 1, 9)
	want := []string{`12="a\x1b"`, `43/1="x"`, `43/2`, `55=1,3`, `60="ACME|AX"`, `61="\x01\x02"`, `77="a"`, `77="bc"`, `80`, `93=7,4660`, `94="1.3.16"`,
		`97="4c4c4544-0042-3510-8052-b4c04f4e3132"`, `124/9="SN"`, `125/42623/3="m"`, `125/9="\x09\x09"`, `175="\x01\x09"`}
	if got := (Packet{Options: p.get}).Sent(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	many := map[uint8][]byte{}
	for i := range 255 {
		many[uint8(i)] = make([]byte, 300)
	}
	if got := (Packet{Options: OptionsOf(many)}).Sent(); len(got) != maxSent || len(got[2]) > maxSentValue+10 {
		t.Errorf("%d options, %q", len(got), got[2])
	}
}
