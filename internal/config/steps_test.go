package config_test

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/config"
)

// A template that would not end, or not soon, ends with an error, also where it writes
// nothing; one with the loops of a large switch is filled in.
func TestStepsAreBounded(t *testing.T) {
	const tooMany = "more than 262144 steps"
	long := strings.Repeat("{{if false}}{{else}}{{$n := 1}}{{end}}", 3000) // 108 KiB
	for _, x := range []struct{ name, text, want string }{
		{"a loop that writes nothing", `{{range 2000000000}}{{end}}`, tooMany},
		{"its number in a variable", `{{$n := 2000000000}}{{range $i := $n}}{{end}}`, tooMany},
		{"loops in loops", `{{range 1000}}{{range 1000}}{{range 1000}}{{end}}{{end}}{{end}}`, tooMany},
		{"one that goes on at once", `{{range 2000000000}}{{continue}}{{end}}`, tooMany},
		{"behind a condition", `{{if true}}{{with 1}}{{range 2000000000}}{{end}}{{end}}{{end}}`, tooMany},
		{"behind else", `{{if false}}{{else}}{{with 0}}{{else}}{{range 0}}{{else}}{{range 2000000000}}{{end}}{{end}}{{end}}{{end}}`, tooMany},
		{"in another template", `{{define "x"}}{{range 2000000000}}{{end}}{{end}}{{template "x"}}`, tooMany},
		{"templates that call each other", `{{define "x"}}{{template "y"}}{{template "y"}}{{end}}{{define "y"}}{{template "z"}}{{template "z"}}{{end}}{{define "z"}}{{range 100000}}{{end}}{{end}}{{template "x"}}`, tooMany},
		{"a long loop", `{{range 10000}}` + long + `{{end}}`, tooMany},
		{"a long one that is short", long, ""},
		{"a large switch", `{{range 1000}}{{range 64}}{{end}}x{{end}}`, ""},
		{"nothing", ``, ""},
	} {
		out, err := config.Render("root", x.text, config.Sample())
		switch {
		case x.want == "" && (err != nil || strings.Trim(out, "x") != ""):
			t.Errorf("%s: %.40q, %v", x.name, out, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%s: %v", x.name, err)
		}
	}
}
