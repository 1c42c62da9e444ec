package ssh

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for raw, want := range map[string]string{
		"a\r\nb\rc\n\n":              "a\nb\nc",
		"  up\tdown  \n":             "  up down",
		"\x1b[1;32mOK\x1b[0m":        "OK",
		"\x1b\x1b[0m[31mred":         " [31mred",
		"\x1b]0;x\x07y":              " ]0;x y",
		"a\u202eb\u2028c\u00a0d\x7f": "a b c d",
		"\xff\xfeä":                  "?ä",
		"a\x00b\x08c\x9b":            "a b c?",
	} {
		if got := printable(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestLastLines(t *testing.T) {
	if got := lastLines("1\n2\n\n3\n 4  x \n5\n6"); got != "2 / 3 / 4 x / 5 / 6" {
		t.Error(got)
	}
	if got := lastLines(strings.Repeat("ä", 1<<20)); len(got) > maxQuoted || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

// gather is what is kept of an output that comes in pieces.
func gather(h hidden, raw string, piece int) string {
	g := &gathered{hide: h, keep: keptHead, endless: func() {}}
	for raw != "" {
		n := min(piece, len(raw))
		_, _ = g.Write([]byte(raw[:n]))
		raw = raw[n:]
	}
	return g.text()
}

// TestSecretsAtTheCut: of a secret that the cut goes through, nothing is left.
func TestSecretsAtTheCut(t *testing.T) {
	const secret = "0123456789abcdef"
	h := hide(Target{Password: secret}, Exchange{})
	for shift := range len(secret) + 1 {
		for _, size := range []int{MaxText - 100, MaxText, MaxText + 2*len(secret), MaxText + 1000, 4 * MaxText} {
			raw := strings.Repeat("-", shift) + strings.Repeat(secret, size/len(secret))
			text := gather(h, raw, 1000)
			if i := strings.IndexAny(text, "abcdef"); i >= 0 && !strings.Contains(text, "bytes cut]") || strings.Contains(text, "ef*") || strings.Contains(text, "*01") {
				t.Fatalf("shift %d, size %d: a piece at %d", shift, size, i)
			}
			if strings.Trim(strings.NewReplacer("bytes cut", "", "[", "", "]", "", "\n", "", " ", "").Replace(text), "-*0123456789") != "" {
				t.Fatalf("shift %d, size %d: pieces are left", shift, size)
			}
		}
	}
}

func FuzzOutput(f *testing.F) {
	for _, seed := range []string{"", "a\nb", "\x1b[2J\x1b]0;t\x07", "\r\r\n\n", "ä\xff\u202e", "pass-word pass-\x1b[0mword", "pass'word", strings.Repeat("long\n", 20000)} {
		f.Add(seed, 7)
	}
	f.Fuzz(func(t *testing.T, raw string, piece int) {
		h := hide(Target{Password: "pass-word"}, Exchange{})
		text := gather(h, raw, max(1, min(piece, 1<<15)))
		if len(text) > MaxText+40 || !utf8.ValidString(text) || strings.Contains(text, "pass-word") {
			t.Errorf("%d bytes, %q", len(text), text)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q at %d", text, i)
		}
		if p := printable(raw); len(p) > len(raw) || printable(p) != p {
			t.Errorf("%q", p)
		}
		for _, line := range []string{lastLines(text), short(raw, maxQuoted)} {
			if !printableLine(line) || len(line) > maxLast*(maxQuoted+3) {
				t.Errorf("%q", line)
			}
		}
	})
}
