package rack

import (
	"encoding/hex"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSameMachine(t *testing.T) {
	// 4c4c4544-0042-3510-8052-b4c04f4e3132 of a Dell, in every order that is met.
	const rfc, smbios = "4c4c4544004235108052b4c04f4e3132", "44454c4c420010358052b4c04f4e3132"
	const backwards, backwardsSMBIOS = "32314e4fc0b452801035420044454c4c", "32314e4fc0b45280351000424c4c4544"
	for _, a := range []string{rfc, smbios, backwards, backwardsSMBIOS} {
		for _, b := range []string{rfc, smbios, backwards, backwardsSMBIOS} {
			if !SameMachine(a, b) {
				t.Errorf("%s and %s", a, b)
			}
		}
	}
	for _, other := range []string{"4c4c4544004235108052b4c04f4e3133", "4c4c4544004235108052c0b44f4e3132", "", "00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff", "4c4c", "zz4c4544004235108052b4c04f4e3132"} {
		if SameMachine(rfc, other) || SameMachine(other, rfc) || SameMachine(other, other) && len(other) != 32 {
			t.Errorf("%s and %q", rfc, other)
		}
	}
	if SameMachine("", "") || SameMachine("00000000000000000000000000000000", "00000000000000000000000000000000") {
		t.Error("who says nothing is nobody")
	}
}

// Every order of a number has its key, and nothing else has.
func TestMachineKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "number")
		key := machineKey(hex.EncodeToString(u))
		v := slices.Clone(u)
		for range rapid.IntRange(0, 5).Draw(t, "turns") {
			if rapid.Bool().Draw(t, "fields") {
				swapFields(v)
			} else {
				slices.Reverse(v)
			}
		}
		if got := machineKey(hex.EncodeToString(v)); got != key {
			t.Errorf("%x has %s, %x has %s", u, key, v, got)
		}
		if key != "" && key != machineKey(key) {
			t.Errorf("%s is not its own key", key)
		}
		i := rapid.IntRange(0, 15).Draw(t, "changed")
		v[i]++
		if got := machineKey(hex.EncodeToString(v)); got != "" && got == key {
			t.Errorf("%x and %x have one key", u, v)
		}
	})
}
