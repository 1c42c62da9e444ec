package support

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Removed stands in the place of what was taken out. It may stand in a text of JSON.
const Removed = "(removed)"

// MinSecret is the shortest secret that is looked for, in bytes: a shorter one stands in
// words that are none.
const MinSecret = 4

// forms are what secrets look like, whosever they are. What is in the group keep stays.
// In a text of JSON a quote may have backslashes before it.
var forms = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----(?s:.*?)(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\z)`),
	regexp.MustCompile(`AGE-SECRET-KEY-(PQ-)?1[0-9A-Za-z]+`),
	regexp.MustCompile(`rr_[0-9A-Za-z]{8,}|rackreach-enroll-[0-9A-Za-z_-]+`), // our own tokens
	regexp.MustCompile(`(?P<keep>(?i:authorization["']?\s*[:=]\s*["']?)(?i:bearer|basic)?\s*)[^\s"',}]+`),
	regexp.MustCompile(`(?P<keep>(?i:bearer )\s*)[^\s"',}]+`),
	regexp.MustCompile(`(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/"'@]+@`),
	regexp.MustCompile(`(?P<keep>(?i:` + names + `)"\s*:\s*")(?:[^"\\]|\\.)+`),
	regexp.MustCompile(`(?P<keep>(?i:` + names + `)(?:\\*["'])?\s*[:=]\s*(?:\\*["'])?)(?:[^\s"',}\\]|\\[^"'])+`),
	regexp.MustCompile(`\$(1|2[abxy]?|[5-9]|y|gy|apr1|md5|sha1|scrypt|pbkdf2[a-z0-9-]*|argon2(i|d|id))\$[./A-Za-z0-9$=,+-]{8,}`),
	// Kickstart, preseed, and the command lines of switches.
	regexp.MustCompile(`(?P<keep>\brootpw[ \t]+(?:--\S+[ \t]+)*)[^\s"'\\-][^\s"'\\]*`),
	regexp.MustCompile(`(?P<keep>\bpasswd/[a-z-]*password[a-z-]*[ \t]+(?:password|string)[ \t]+)[^\s"'\\]+`),
	regexp.MustCompile(`(?P<keep>\busername[ \t]+\S+(?:[ \t]+\S+){0,4}?[ \t]+(?:secret|password)[ \t]+(?:(?:[0-9]{1,2}|sha512|sha256|\*)[ \t]+)?)[^\s"'\\]+`),
	// Under its token a device fetches and reports (internal/boot).
	regexp.MustCompile(`(?P<keep>/[a-z]+/)[0-9a-f]{32}\b`),
}

// names are what people call secrets.
const names = `passw(?:or)?d|passphrase|secret|(?:api|access|auth|private)[_-]?key|token`

// keyTail is the end of a private key whose begin was cut off.
var keyTail = regexp.MustCompile(`(?:[A-Za-z0-9+/=]+(?:\\n|\s)+)+-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----`)

// Redactor takes secrets out of text.
type Redactor struct {
	values *strings.Replacer // every way in which a secret may be written, the longest first
}

// NewRedactor makes one that knows these secrets. Those shorter than MinSecret are not
// looked for; short says how many.
func NewRedactor(secrets []string) (r *Redactor, short int) {
	var values []string
	for _, s := range secrets {
		if len(s) < MinSecret {
			if s != "" {
				short++
			}
			continue
		}
		values = append(values, writings(s)...)
		for _, line := range linesOf(s) {
			values = append(values, writings(line)...)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(values))
	for _, v := range slices.Compact(values) {
		pairs = append(pairs, v, Removed)
	}
	return &Redactor{strings.NewReplacer(pairs...)}, short
}

// minLine is the shortest line of a secret that is looked for by itself, in bytes.
const minLine = 8

// linesOf are the lines of a secret that has several: a log may break it there. What
// frames a key is no secret, and other keys are known by it.
func linesOf(s string) (out []string) {
	if !strings.Contains(strings.TrimSpace(s), "\n") {
		return nil
	}
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); len(line) >= minLine && !strings.HasPrefix(line, "-----") {
			out = append(out, line)
		}
	}
	return out
}

// writings are the ways in which a secret may stand in a text.
func writings(s string) []string {
	quoted, ascii := strconv.Quote(s), strconv.QuoteToASCII(s)
	out := []string{s, quoted[1 : len(quoted)-1], ascii[1 : len(ascii)-1],
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))), base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s))}
	for _, escaped := range []string{url.QueryEscape(s), url.PathEscape(s)} {
		out = append(out, escaped, percent.ReplaceAllStringFunc(escaped, strings.ToLower))
	}
	for _, html := range []bool{true, false} {
		once := inJSON(s, html)
		out = append(out, once, inJSON(once, true), inJSON(once, false))
	}
	// Base64 of a text with it inside: what does not depend on the bytes beside it.
	for before, cut := range []int{0, 2, 3} {
		raw := append(make([]byte, before), s...)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if inside := e.EncodeToString(raw)[cut : 8*len(raw)/6]; len(inside) >= minInside {
				out = append(out, inside)
			}
		}
	}
	return out
}

// minInside is the shortest part of a text of base64 that is looked for, in bytes: a
// shorter one stands in words that are none.
const minInside = 6

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// inJSON is a text as it stands between the quotes of a text of JSON.
func inJSON(s string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(s); err != nil || b.Len() < len("\"\"\n") {
		return s
	}
	return b.String()[1 : b.Len()-len("\"\n")]
}

// Redact is a text without secrets, and how many were taken out.
func (r *Redactor) Redact(text []byte) (clean []byte, removed int) {
	clean = []byte(r.values.Replace(string(text)))
	removed = bytes.Count(clean, []byte(Removed)) - bytes.Count(text, []byte(Removed))
	all := forms
	if bytes.Contains(clean, []byte("-----END ")) {
		all = append(slices.Clone(forms[:1]), append([]*regexp.Regexp{keyTail}, forms[1:]...)...)
	}
	for _, f := range all {
		clean = f.ReplaceAllFunc(clean, func(m []byte) []byte {
			if bytes.HasSuffix(m, []byte(Removed)) {
				return m
			}
			removed++
			var keep []byte
			if i := f.SubexpIndex("keep"); i > 0 {
				keep = f.FindSubmatch(m)[i]
			}
			return append(slices.Clone(keep), Removed...)
		})
	}
	return clean, removed
}
