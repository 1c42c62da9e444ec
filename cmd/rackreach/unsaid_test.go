package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// shown is the form in which a secret stands in a text: as it is, in base64 behind any
// other text, in hexadecimal digits, or as in a URL. Empty: in none.
func shown(text []byte, secret string) string {
	forms := []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret)}
	for before := range 3 { // bytes before it in a group of three
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			b := e.EncodeToString(append(make([]byte, before), secret...))
			// The first and the last digit may hold bits of what stands beside it.
			forms = append(forms, b[(before*8+5)/6:(before+len(secret))*8/6])
		}
	}
	for _, f := range forms {
		if bytes.Contains(text, []byte(f)) {
			return f
		}
	}
	return ""
}

// unsaid holds that a secret stands in no file of some, nor below some directories:
// unsaid SECRET PATH…. Every path must have something in it.
func unsaid(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args[1:] {
		read := 0
		ts.Check(filepath.WalkDir(ts.MkAbs(path), func(file string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(file)
			if f := shown(b, args[0]); f != "" {
				ts.Fatalf("%s holds the secret, as %s", file, f)
			}
			read += len(b)
			return err
		}))
		if read == 0 {
			ts.Fatalf("there is nothing in %s", path)
		}
	}
}

func TestShown(t *testing.T) {
	const secret = "Basalt-Wiesel19"
	for _, before := range []string{"", "a", "ab", "admin:"} {
		for _, after := range []string{"", "z", "zz"} {
			for what, text := range map[string]string{
				"plain":  before + secret + after,
				"base64": base64.StdEncoding.EncodeToString([]byte(before + secret + after)),
				"hex":    hex.EncodeToString([]byte(before + secret + after)),
			} {
				if shown([]byte("x "+text+" y"), secret) == "" {
					t.Errorf("%s of %q is not found: %s", what, before+secret+after, text)
				}
			}
		}
	}
	if f := shown([]byte("env:RACK_BMC Basalt admin simulated"), secret); f != "" {
		t.Errorf("%s is found", f)
	}
}
