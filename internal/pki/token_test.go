package pki

import (
	"crypto/rand"
	"strings"
	"testing"
)

func aToken() Token {
	return Token{URL: "https://[::1]:7443", Fingerprint: strings.Repeat("0a", 32), Rack: "r1", Secret: rand.Text()}
}

func TestTokens(t *testing.T) {
	good := aToken()
	if got, err := ParseToken(" " + good.String() + "\n"); err != nil || got != good {
		t.Errorf("%+v %v", got, err)
	}
	for name, change := range map[string]func(*Token){
		"plain http":  func(t *Token) { t.URL = "http://h:1" },
		"a path":      func(t *Token) { t.URL = "https://h/x" },
		"a user":      func(t *Token) { t.URL = "https://a@h" },
		"no host":     func(t *Token) { t.URL = "https://:1" },
		"long URL":    func(t *Token) { t.URL = "https://" + strings.Repeat("h", maxURL) },
		"rack":        func(t *Token) { t.Rack = "../r1" },
		"fingerprint": func(t *Token) { t.Fingerprint = t.Fingerprint[1:] },
		"secret":      func(t *Token) { t.Secret = "SECRET" },
	} {
		bad := good
		change(&bad)
		if _, err := ParseToken(bad.String()); err == nil {
			t.Errorf("%s is taken", name)
		} else if strings.Contains(err.Error(), bad.Secret) {
			t.Errorf("%s: the secret is shown: %v", name, err)
		}
	}
	for _, text := range []string{"", "rackreach-enroll-", good.String()[:40], good.String() + "!", tokenPrefix + strings.Repeat("A", maxToken)} {
		if _, err := ParseToken(text); err == nil {
			t.Errorf("%.60q is taken", text)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(aToken().String())
	f.Add("rackreach-enroll-e30")
	f.Add("rackreach-enroll-")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseToken(text)
		if err != nil {
			return
		}
		if again, err := ParseToken(got.String()); err != nil || again != got {
			t.Errorf("%+v is %+v the second time: %v", got, again, err)
		}
	})
}
