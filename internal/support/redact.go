package support

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
)

// Removed stands in the place of what was taken out. It may stand in a text of JSON.
const Removed = "(removed)"

// MinSecret is the shortest secret that is looked for, in bytes: a shorter one stands in
// words that are none.
const MinSecret = 4

// forms are what secrets look like, whosever they are. What is in the group keep stays.
var forms = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----(?s:.*?)(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\z)`),
	regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Za-z]+`),
	regexp.MustCompile(`rr_[0-9A-Za-z]{8,}|rackreach-enroll-[0-9A-Za-z_-]+`), // our own tokens
	regexp.MustCompile(`(?P<keep>(?i:authorization["']?\s*[:=]\s*["']?)(?i:bearer|basic)?\s*)[^\s"',}]+`),
	regexp.MustCompile(`(?P<keep>(?i:bearer )\s*)[^\s"',}]+`),
	regexp.MustCompile(`(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/"'@]+@`),
	regexp.MustCompile(`(?P<keep>(?i:passw(or)?d|passphrase|secret|(api|access|auth|private)[_-]?key|token)["']?\s*[:=]\s*["']?)[^\s"',}]+`),
	regexp.MustCompile(`\$(1|2[aby]|5|6|7|y|gy|argon2(i|d|id))\$[./A-Za-z0-9$=,+-]{8,}`),
	// Under its token a device fetches and reports (internal/boot).
	regexp.MustCompile(`(?P<keep>/(job|image|report|hardware|progress|frames|installer|native|boot)/)[0-9a-f]{32}`),
}

// Redactor takes secrets out of text.
type Redactor struct {
	values [][]byte // every way in which a secret may be written, the longest first
}

// NewRedactor makes one that knows these secrets. Those shorter than MinSecret are not
// looked for; short says how many.
func NewRedactor(secrets []string) (r *Redactor, short int) {
	r = &Redactor{}
	for _, s := range secrets {
		if len(s) < MinSecret {
			if s != "" {
				short++
			}
			continue
		}
		r.values = append(r.values, []byte(s), []byte(hex.EncodeToString([]byte(s))), []byte(base64.StdEncoding.EncodeToString([]byte(s))),
			[]byte(base64.RawURLEncoding.EncodeToString([]byte(s))), []byte(url.QueryEscape(s)), []byte(url.PathEscape(s)))
		if b, err := json.Marshal(s); err == nil {
			r.values = append(r.values, b[1:len(b)-1])
		}
	}
	slices.SortStableFunc(r.values, func(a, b []byte) int { return len(b) - len(a) })
	return r, short
}

// Redact is a text without secrets, and how many were taken out.
func (r *Redactor) Redact(text []byte) (clean []byte, removed int) {
	clean = text
	for _, v := range r.values {
		if n := bytes.Count(clean, v); n > 0 {
			clean, removed = bytes.ReplaceAll(clean, v, []byte(Removed)), removed+n
		}
	}
	for _, f := range forms {
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
