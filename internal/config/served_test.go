package config

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
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

func TestVersionOf(t *testing.T) {
	for name, want := range map[string]string{
		"EOS-4.32.1F.swi": "4.32.1F", "sonic/sonic-202411.1-broadcom.bin": "202411.1", "cumulus-linux-5.9.1-mlx-amd64.bin": "5.9.1",
		"sonic-broadcom.bin": "", "sonic-x86_64.bin": "", "debian-13": "", "EOS-4.32.1": "4.32.1", "": "",
	} {
		if got := versionOf(rack.Image{Name: name}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
