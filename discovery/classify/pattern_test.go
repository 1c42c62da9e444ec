package classify

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPattern(t *testing.T) {
	for _, x := range []struct{ pattern, value, want string }{
		{"iDRAC", "iDRAC", "yes"},
		{"iDRAC", "iDRACula", "no"},
		{"iDRAC", "iDRA", "no"},
		{"udhcp {}", "udhcp 1.35.0", "yes"},
		{"udhcp {}", "udhcp ", "yes"},
		{"udhcp {}", "udhcp", "no"},
		{"{}", "anything", "yes"},
		{"{model}", "ECS4620-28T", "model=ECS4620-28T"},
		{"A;{model};{};{serial}", "A;7050;01;JPE", "model=7050 serial=JPE"},
		{"A;{model};{};{serial}", "A;7050;01", "no"},
		{"A;{model};{};{serial}", "A;7050;01;JPE;x", "model=7050 serial=JPE;x"},
		{"J-{model*}-{serial}", "J-qfx10002-361-DN817", "model=qfx10002-361 serial=DN817"},
		{"J-{model*}-{serial}", "J-qfx10002", "no"},
		{"J-{model}-{serial}", "J-qfx10002-361-DN817", "model=qfx10002 serial=361-DN817"},
		{"{model*}-r{}", "a-r1-r0", "model=a-r1"},
		{"{model}-end", "a-end-end", "model=a-end"},
		{"{model}-end", "a-end.", "no"},
		{"{model}-end", "-end", "model="},
		{"{model}-end", "end", "no"},
		{"\xff{:4}\x00\x02{serial}", "\xffabcd\x00\x02S", "serial=S"},
		{"\xff{:4}\x00\x02{serial}", "\xffab\x00\x02S", "no"},
		{"{serial:3}{model}", "ABCdef", "model=def serial=ABC"},
		{"{serial:3}{model:3}", "ABCdef", "model=def serial=ABC"},
		{"{serial:3}{model:3}", "ABCdefg", "no"},
		{"{serial:3}{model:3}", "ABC", "no"},
		{"a{{{model}}}b", "a{x}b", "model=x"},
		{"{{}}", "{}", "yes"},
		{"{vendor}_{arch}/{arch-number}", "a_b/7", "vendor=a arch=b arch-number=7"},
	} {
		t.Run(x.pattern+" "+x.value, func(t *testing.T) {
			p, err := parsePattern(asWritten(x.pattern))
			if err != nil {
				t.Fatal(err)
			}
			if got := matched(p, x.value); got != x.want {
				t.Errorf("got %s, want %s", got, x.want)
			}
		})
	}
}

// asWritten is a string of bytes as YAML gives it: each is a character.
func asWritten(s string) string {
	r := make([]rune, 0, len(s))
	for i := range len(s) {
		r = append(r, rune(s[i]))
	}
	return string(r)
}

// matched is what a pattern takes out of a value.
func matched(p pattern, value string) string {
	var got filled
	if !p.match([]byte(value), &got) {
		return "no"
	}
	var out []string
	for f := fieldVendor; f < fields; f++ {
		if got[f] != nil {
			out = append(out, fieldNames[f]+"="+string(got[f]))
		}
	}
	if out == nil {
		return "yes"
	}
	return strings.Join(out, " ")
}

func TestWhatAPatternMayNotBe(t *testing.T) {
	for _, x := range []struct{ pattern, what, fix string }{
		{"a}b", "a } without its {", "}} for the character itself"},
		{"a{b", "a { without its }", "{model}, or {{ for the character itself"},
		{"{modell}", "there is no {modell}", "{vendor}, {model}, {serial}, {arch}, {arch-number}, or {} for what is passed over"},
		{"{\x1b}", `there is no {\x1b}`, "{vendor}, {model}, {serial}, {arch}, {arch-number}, or {} for what is passed over"},
		{"{model}{serial}", "nothing says where the first of two holes ends", "text between two holes, or a width, such as {:4}"},
		{"{model} {model}", "{model} stands twice in it", "it once; {} for what is passed over"},
		{"{:0}", "{:0} has no width", "a number of bytes, such as {:4} or {serial:8}"},
		{"{model:x}", "{model:x} has no width", "a number of bytes, such as {:4} or {serial:8}"},
		{"{model*:4}", "{model*:4} has no width", "a number of bytes, such as {:4} or {serial:8}"},
		{"{:256}", "{:256} has no width", "a number of bytes, such as {:4} or {serial:8}"},
		{"Ā", "it holds a character that is no single byte", `ASCII, and "\xNN" in double quotes for other bytes`},
		{strings.Repeat("{} ", 9), "it has too many holes", "at most 8"},
		{strings.Repeat("a", 511), "it is too long", "at most 255 characters"},
	} {
		_, err := parsePattern(x.pattern)
		var bad patternError
		if !errors.As(err, &bad) || bad.what != x.what || bad.fix != x.fix {
			t.Errorf("%q: %+v", x.pattern, err)
		}
	}
}

// TestContains: whatever fits a contained pattern fits the containing one too.
func TestContains(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab-;")), 0, 4, -1)
	draw := rapid.Custom(func(t *rapid.T) string {
		out := text.Draw(t, "text")
		for range rapid.IntRange(0, 3).Draw(t, "holes") {
			out += rapid.SampledFrom([]string{"{}", "{*}", "{:2}"}).Draw(t, "hole") + text.Draw(t, "text")
		}
		return out
	})
	contained := 0
	rapid.Check(t, func(t *rapid.T) {
		wide := draw.Draw(t, "p")
		narrow := strings.Replace(wide, "{}", text.Draw(t, "filled"), rapid.IntRange(0, 2).Draw(t, "fillings")) // two by chance hardly ever contain each other
		if rapid.Bool().Draw(t, "another") {
			narrow = draw.Draw(t, "q")
		}
		p, errP := parsePattern(wide)
		q, errQ := parsePattern(narrow)
		if errP != nil || errQ != nil || !p.contains(&q) {
			return
		}
		contained++
		// A value that fits q: its holes filled in.
		value := string(q.prefix)
		for _, h := range q.holes {
			fill := text.Draw(t, "fill")
			if h.width > 0 {
				fill = strings.Repeat("a", h.width)
			}
			value += fill + string(h.then)
		}
		if matched(q, value) != "no" && matched(p, value) == "no" {
			t.Fatalf("%q fits %q, which %q contains", value, q.written, p.written)
		}
	})
	if contained == 0 {
		t.Error("no pattern contained another: this test tests nothing")
	}
	for _, x := range []struct {
		p, q string
		want bool
	}{
		{"a{}", "a", true}, {"a{}", "ab{}", true}, {"ab{}", "a{}", false}, {"a", "a{}", false}, {"{}", "{model}-{serial}", true},
		{"a{}c", "a{}bc", true}, {"a{}c", "a{}b", false}, {"{}-{}", "{model*}-{serial}", true}, {"a{}b{}", "ab", true}, {"a{}b{}c", "abc{}", false},
		{"J-{model*}-{}", "J-{model*}-{}", true}, {"J-{model*}-{}x", "J-a-bx", false}, {"a{}b{}b", "ab", false},
		{"a-b", "a{}b", false}, {"-", "{}", false},
	} {
		p, errP := parsePattern(x.p)
		q, errQ := parsePattern(x.q)
		if errP != nil || errQ != nil {
			t.Fatal(errP, errQ)
		}
		if p.contains(&q) != x.want {
			t.Errorf("%q contains %q: %v", x.p, x.q, !x.want)
		}
	}
}
