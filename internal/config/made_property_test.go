package config

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// What a format makes is within what it is counted as, but for the escapes of %q and %x and
// the words of package fmt about what is wrong with a verb.
func TestFormatsMakeNoMoreThanTheyAreCountedAs(t *testing.T) {
	const escaped, words = 6, 64 // bytes of one, and of a verb
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.StringOfN(rapid.SampledFrom([]rune("%%%%+-# 0123456789.[]*sdvqxXTtü")), 0, 40, -1).Draw(t, "format")
		var a []any
		for _, n := range rapid.SliceOfN(rapid.IntRange(-300, 300), 0, 4).Draw(t, "arguments") {
			if n >= 0 && n < 200 {
				a = append(a, rapid.StringN(n, n, -1).Draw(t, "text"))
			} else {
				a = append(a, n)
			}
		}
		verbs, widths, stars := verbsOf(format)
		sum, longest := lengths(a)
		made := len(fmt.Sprintf(format, a...))
		if most := escaped*(len(format)+sum+verbs*(longest+words)+len(a)*words) + widths + stars*1_000_000; made > most {
			t.Fatalf("%q makes %d bytes, counted as %d verbs, %d of widths, %d stars", format, made, verbs, widths, stars)
		}
	})
}
