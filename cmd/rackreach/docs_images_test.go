package main

import (
	"os"
	"strings"
	"testing"
)

// TestCommandsOfTheDocs holds that each command of a page of the documentation, and each
// file that it shows, stands in the script that runs them.
func TestCommandsOfTheDocs(t *testing.T) {
	for page, script := range map[string]string{"../../docs/images.md": "testdata/script/docs-images.txtar", "../../docs/cabling.md": "testdata/script/docs-cabling.txtar", "../../docs/install.md": "testdata/script/docs-install.txtar", "../../docs/certificates.md": "testdata/script/docs-certificates.txtar"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		run, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		is := strings.NewReplacer("https://coordinator-1.example.net:7443", "$URL1", "https://coordinator-2.example.net:7443", "$URL2", "https://coordinator.example.net:7443", "$URL", "coordinator-1.example.net", "$HOST", "coordinator-2.example.net", "$HOST2", "coordinator.example.net", "$HOST",
			"/var/lib/rackreach", "$STATE", "--ca ca.crt", "--ca $CA", "rr_...", "$ADA", "--token TOKEN", "--token $TOKEN", " FINGERPRINT", " $FINGERPRINT", " examples/", " $EXAMPLES/", "registry.example.net", "$REGISTRY", "~/", "$HOME/")
		commands := 0
		for i, block := range strings.Split(string(text), "```") {
			kind, body, _ := strings.Cut(block, "\n")
			if i%2 == 0 || kind != "sh" && kind != "yaml" {
				continue
			}
			for line := range strings.Lines(body) {
				line = is.Replace(strings.TrimSuffix(line, "\n"))
				if kind == "sh" {
					line, _, _ = strings.Cut(strings.TrimSpace(line), " | ") // what reads it is not ours
					line = strings.TrimPrefix(line, "sudo -u rackreach ")
				}
				if kind == "sh" && !strings.HasPrefix(line, "rackreach ") {
					continue
				}
				if commands++; !strings.Contains(string(run), line+"\n") && !strings.Contains(string(run), line+" &") {
					t.Errorf("%s shows %q, which %s does not run", page, line, script)
				}
			}
		}
		if commands < 6 {
			t.Errorf("%s has %d commands: this test looks in the wrong place", page, commands)
		}
	}
}
