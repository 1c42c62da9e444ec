package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/config"
)

// What functions make is bounded before it is made, also where nothing of it is written;
// ordinary calls say what those of text/template say.
func TestWhatFunctionsMakeIsBounded(t *testing.T) {
	const tooMuch = "more than 16777216 bytes of text"
	doubled := func(x string) string { return `{{$x := "12345678"}}{{range 24}}{{$x = ` + x + `}}{{end}}` }
	for _, x := range []struct{ name, text, want string }{
		{"print", doubled(`print $x $x`), tooMuch},
		{"println", doubled(`println $x $x`), tooMuch},
		{"printf", doubled(`printf "%s%s" $x $x`), tooMuch},
		{"a format that names one text twice", doubled(`printf "%[1]s%[1]s" $x`), tooMuch},
		{"a format that grows", doubled(`printf (print $x "%s") $x`), "bytes of text"},
		{"json", `{{$x := "\""}}{{range 24}}{{$x = json $x}}{{end}}`, tooMuch},
		{"html", `{{$x := "&"}}{{range 24}}{{$x = html $x $x}}{{end}}`, tooMuch},
		{"js", `{{$x := "<"}}{{range 24}}{{$x = js $x $x}}{{end}}`, tooMuch},
		{"urlquery", `{{$x := "%"}}{{range 24}}{{$x = urlquery $x $x}}{{end}}`, tooMuch},
		{"a width", `{{$x := printf "%900000000d" 1}}`, tooMuch},
		{"many widths", `{{$x := printf "` + strings.Repeat("%999999d", 20) + `" 1}}`, tooMuch},
		{"a precision", `{{$x := printf "%.17000000f" 1.5}}`, tooMuch},
		{"widths that are arguments", `{{$x := printf "` + strings.Repeat("%[1]*[1]d", 20) + `" 999999}}`, tooMuch},
		{"many verbs", `{{$x := printf "` + strings.Repeat("%[1]v", 1000) + `" .}}`, "at most 256"},
		{"many arguments", `{{$x := print ` + strings.Repeat(". ", 1000) + `}}`, "at most 256"},
		{"many short ones", `{{range 200000}}{{$x := print "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}}{{end}}`, tooMuch},
		{"an ordinary switch", `{{range 1000}}{{range 64}}{{$x := printf "interface %-12s vlan %5d description %q" "Ethernet1/1" 200 "server-01"}}{{end}}{{end}}`, ""},
	} {
		switch _, err := config.Render("root", x.text, config.Sample()); {
		case x.want == "" && err != nil:
			t.Errorf("%s: %v", x.name, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%s: %v", x.name, err)
		}
	}
	got, err := config.Render("root", `{{print 1 2 "a" nil}}|{{println "a" 1}}|{{printf "%-5s|%05.1f|%3d%%|%*d|%v" "ab" 1.5 7 4 3 true}}|{{html "<a>"}}|{{js "<a>"}}|{{urlquery "a b"}}|{{"x" | printf "%s%s" "y"}}|{{json "a\"b"}}`, config.Sample())
	if want := fmt.Sprint(1, 2, "a", nil) + "|" + fmt.Sprintln("a", 1) + `|ab   |001.5|  7%|   3|true|&lt;a&gt;|\u003Ca\u003E|a+b|yx|"a\"b"`; err != nil || got != want {
		t.Errorf("%q, %v\nwant %q", got, err, want)
	}
}
