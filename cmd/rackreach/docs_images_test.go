package main

import (
	"os"
	"strings"
	"testing"
)

// TestCommandsOfTheDocs holds that each command of a page of the documentation, and each
// file that it shows, stands in the script that runs them.
func TestCommandsOfTheDocs(t *testing.T) {
	for page, script := range map[string]string{"../../docs/images.md": "testdata/script/docs-images.txtar", "../../docs/cabling.md": "testdata/script/docs-cabling.txtar", "../../docs/certificates.md": "testdata/script/docs-certificates.txtar"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		run, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		is := strings.NewReplacer(" FINGERPRINT", " $FINGERPRINT", " examples/", " $EXAMPLES/", "registry.example.net", "$REGISTRY", "~/", "$HOME/")
		commands := 0
		for i, block := range strings.Split(string(text), "```") {
			kind, body, _ := strings.Cut(block, "\n")
			if i%2 == 0 || kind != "sh" && kind != "yaml" {
				continue
			}
			for line := range strings.Lines(body) {
				line = is.Replace(strings.TrimSuffix(line, "\n"))
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
