package config

import (
	"strings"
	"testing"
)

// What only a document of a ticket can say is said nowhere else.
func TestServed(t *testing.T) {
	const text = "{{.Device}} {{.URL}} {{.ImageURL}} {{.SHA256}} {{.File}} {{.User}} {{.Key}}"
	got, err := Render("t", text, SampleServed(Sample()))
	want := "switch-1 http://agent/native/TOKEN http://agent/image/TOKEN " + strings.Repeat("0", 64) + " image USER ssh-ed25519 KEY"
	if err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if err := CheckServed("t", text); err != nil {
		t.Error(err)
	}
	if err := Check("t", "{{.Key}}"); err == nil {
		t.Error("a key in what is said over SSH")
	}
	if err := CheckServed("t", "{{.Password}}"); err == nil {
		t.Error("a password")
	}
}
