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
