package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestForms(t *testing.T) {
	r, short := NewRedactor([]string{"calvin", `a"b\c+d/e`, "abc", ""})
	if short != 1 {
		t.Errorf("%d short secrets", short)
	}
	for text, want := range map[string]string{
		"the password calvin is known": "the password (removed) is known",
		`{"x":"a\"b\\c+d/e"}`:          `{"x":"(removed)"}`,
		"?p=a%22b%5Cc%2Bd%2Fe":         "?p=(removed)",
		"63616c76696e":                 "(removed)",
		"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\nmore": "(removed)\nmore",
		"-----BEGIN PRIVATE KEY-----\ncut off":                                            "(removed)",
		"AGE-SECRET-KEY-1QQQQ end":                                                        "(removed) end",
		"Authorization: Bearer rr.x.y":                                                    "Authorization: Bearer (removed)",
		"https://ada:pw@host/x":                                                           "https://(removed)host/x",
		`"password": "hunter2", "user": "ada"`:                                            `"password": "(removed)", "user": "ada"`,
		"rr_ABCDEFGHIJKLMNOPQRSTUVWXYZ, rackreach-enroll-abc_-x":                          "(removed), (removed)",
		"token=xyz next":                                                                  "token=(removed) next",
		"hash $6$salt$abcdefghijkl here":                                                  "hash (removed) here",
		"/image/c626826b65c657ad316409f882c2177c":                                         "/image/(removed)",
		"credentials: env:RACK_BMC":                                                       "credentials: env:RACK_BMC",
		"ticket r1/server-01/1":                                                           "ticket r1/server-01/1",
		"abc":                                                                             "abc",
	} {
		if got, _ := r.Redact([]byte(text)); string(got) != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}

// However somebody writes a secret down who had it in his hands, it is taken out.
func TestWritings(t *testing.T) {
	const secret = `pa"ss<wörd&1`
	const lines = "first line of a key\nsecond line of a key\n"
	const hash = "$y$j9T$abcdefgh$ijklmnop"
	r, _ := NewRedactor([]string{secret, "root:calvin42", "calvin42", lines, hash})
	plain := func(s string) string { // as slog and protojson write it
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	inJSON, err := json.Marshal(plain(secret))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"JSON without HTML": plain(secret), "quoted": strconv.Quote(secret), "quoted as ASCII": strconv.QuoteToASCII(secret), "JSON in JSON": string(inJSON),
		"upper hex": strings.ToUpper(hex.EncodeToString([]byte(secret))), "lower percent": percent.ReplaceAllStringFunc(url.QueryEscape(secret), strings.ToLower),
		"base64 in a text": base64.StdEncoding.EncodeToString([]byte("user: root, password: calvin42, more")),
		"base64, shifted":  base64.StdEncoding.EncodeToString([]byte("x calvin42 y")), "base64, shifted again": base64.URLEncoding.EncodeToString([]byte("xy calvin42 y")),
		"a line of a key": "agent: second line of a key", "the tail of a key": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\n-----END PRIVATE KEY-----\nafter",
		"hash in JSON": plain(hash), "hash": "rootpw --iscrypted " + hash, "loader": "GET /loader/c626826b65c657ad316409f882c2177c/ipxe.efi",
		"password in JSON in JSON": `{"text":"{\"password\":\"hunter2hunter2\"}"}`, "rootpw": "rootpw --plaintext hunter2hunter2", "preseed": "d-i passwd/root-password password hunter2hunter2",
		"eos": "username admin privilege 15 secret 0 hunter2hunter2", "apache": "admin:$apr1$salt1234$abcdefghijklmnop", "scrypt": "$scrypt$ln=16,r=8,p=1$abcdefgh$ijklmnop",
	} {
		got, n := r.Redact([]byte(text))
		for _, left := range []string{"ss<w", "ss\\u003cw", "1234", "hunter2", "calvin", "Y2FsdmluNDI", "NhbHZpbjQy", "jYWx2aW40M", "second line", "QUJDREVG", "ijklmnop", "c626826b", "C3B6", "c3%b6", "abcdefgh"} {
			if n == 0 || bytes.Contains(got, []byte(left)) {
				t.Errorf("%s: %q became %q", name, text, got)
				break
			}
		}
	}
	for _, text := range []string{"the password over SSH is refused", "secret of the rack's tickets", "credentials: age:/etc/rack/bmc.age", "the device logged in by password, root"} {
		if got, n := r.Redact([]byte(text)); n != 0 {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// Whatever a secret is, it is not found in what it was written into.
func TestRedacted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringN(MinSecret, 40, -1).Filter(func(s string) bool {
			return len(s) >= MinSecret && !strings.Contains(Removed, s) && !strings.ContainsAny(s, "()")
		}).Draw(t, "secret")
		before, after := rapid.StringN(0, 10, -1).Draw(t, "before"), rapid.StringN(0, 10, -1).Draw(t, "after")
		r, _ := NewRedactor([]string{secret})
		in, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{secret, string(in), base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret)} {
			got, n := r.Redact([]byte(before + form + after))
			if n == 0 || bytes.Contains(got, []byte(secret)) {
				t.Fatalf("%q stands in %q", secret, got)
			}
		}
	})
}

func unpack(t *testing.T, b []byte) (names []string, files map[string][]byte) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestArchive(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	build := func() []byte {
		r, _ := NewRedactor([]string{"calvin"})
		a := New("r1", "v1", at, r)
		a.most = 1 << 10
		a.Add("b.txt", "the second letter", []byte("login root:calvin\n"))
		a.Add("a.txt", "a long one", append(bytes.Repeat([]byte("0123456789\n"), 2*margin/11), "-----BEGIN PRIVATE KEY-----\nkey\n"+strings.Repeat("of a key\n", 1000)+"-----END PRIVATE KEY-----\nend\n"...))
		a.LeaveOut("the log", "there is none at calvin's")
		var b bytes.Buffer
		if err := a.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one, two := build(), build()
	if !bytes.Equal(one, two) {
		t.Error("the same files make other bytes")
	}
	names, files := unpack(t, one)
	if !slices.Equal(names, []string{"support-r1/manifest.json", "support-r1/b.txt", "support-r1/a.txt"}) {
		t.Error(names)
	}
	var m Manifest
	if err := json.Unmarshal(files["support-r1/manifest.json"], &m); err != nil {
		t.Fatal(err)
	}
	if m.Rack != "r1" || m.Removed != 3 || len(m.Files) != 2 || len(m.LeftOut) != 2 || !strings.HasPrefix(m.LeftOut[0].What, "the beginning of ") {
		t.Errorf("%+v", m)
	}
	if a := files["support-r1/a.txt"]; len(a) > 1<<10 || !bytes.HasPrefix(a, []byte("0123")) || !bytes.HasSuffix(a, []byte("9\n(removed)\nend\n")) {
		t.Errorf("%d bytes are left, from %.10q on", len(a), a)
	}
	for name, body := range files {
		if bytes.Contains(body, []byte("calvin")) {
			t.Errorf("%s holds the secret", name)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("password: x", "calvin")
	f.Add("-----BEGIN PRIVATE KEY-----", "-----BEGIN")
	f.Fuzz(func(t *testing.T, text, secret string) {
		r, _ := NewRedactor([]string{secret})
		got, _ := r.Redact([]byte(text))
		if len(secret) >= MinSecret && !strings.Contains(secret, "(") && !strings.Contains(secret, ")") && !strings.Contains(Removed, secret) && bytes.Contains(got, []byte(secret)) {
			t.Errorf("%q stands in %q", secret, got)
		}
	})
}
