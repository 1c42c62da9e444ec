package secret

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

func put(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := put(t, "key.txt", "# made for a test\n"+id.String()+"\n", 0o600)
	var b strings.Builder
	w, err := age.Encrypt(&b, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(w, "admin:ag3key"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sealed := put(t, "sealed.age", b.String(), 0o644)
	open := put(t, "open", "admin:f1le", 0o644)
	env := map[string]string{"LOGIN": "admin:env:x", "SHORT": "abc", "SHORTLOGIN": "admin:abc", "SHORTEST": "abcd", IdentityVariable: identity, "EMPTY": "", "LONG": strings.Repeat("x", MaxSize+1)}
	r := Reader{Env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}
	for _, tt := range []struct{ reference, want, fails string }{
		{"env:LOGIN", "admin:env:x", ""},
		{"env:SHORT", "", "fewer than 4 bytes"},
		{"env:SHORTLOGIN", "", "give the device a longer one"},
		{"env:SHORTEST", "abcd", ""},
		{"file:" + put(t, "login", "admin:f1le\n", 0o600), "admin:f1le", ""},
		{"age:" + sealed, "admin:ag3key", ""},
		{"env:NOBODY", "", "the variable NOBODY is not set"},
		{"env:EMPTY", "", "is empty"},
		{"env:LONG", "", "which is no secret"},
		{"admin:hunter2", "", "it is no reference"},
		{"file:relative", "", "it is no reference"},
		{"file:" + open, "", "may be read by others (0644): chmod 600"},
		{"file:" + t.TempDir(), "", "is no file"},
		{"file:/nowhere/at/all", "", "no such file"},
		{"age:" + open, "", "cannot be decrypted"},
	} {
		got, err := r.Read(tt.reference)
		if tt.fails == "" {
			if err != nil || got.Reveal() != tt.want {
				t.Errorf("%s: %v", tt.reference, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.fails) || strings.Contains(err.Error(), "f1le") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", tt.reference, err, tt.fails)
		}
	}
	delete(env, IdentityVariable)
	if _, err := r.Read("age:" + sealed); err == nil || !strings.Contains(err.Error(), "age-keygen") {
		t.Errorf("without an identity: %v", err)
	}
}

// A secret is printed in no way.
func TestNobodySeesIt(t *testing.T) {
	v, err := Reader{Env: func(string) (string, bool) { return "admin:hunter2", true }}.Read("env:X")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"v": v, "p": &v})
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v) + string(b); strings.Contains(all, "hunter") || strings.Contains(all, fmt.Sprintf("%x", "hunter2")) {
		t.Error(all)
	}
	if user, password, ok := v.Login(); !ok || user != "admin" || password != "hunter2" {
		t.Errorf("%q %q %t", user, password, ok)
	}
}
