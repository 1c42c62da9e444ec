package coordinator

import (
	"strings"
	"testing"
)

func TestWhatIsAnAddressToScrape(t *testing.T) {
	for at, want := range map[string]bool{
		"10.0.1.5:9640": true, "[fd00::1]:9640": true, "rack-1.dc.example:9640": true, "localhost:80": true,
		"": false, ":9640": false, "10.0.1.5": false, "10.0.1.5:": false, "10.0.1.5:0": false, "10.0.1.5:65536": false, "10.0.1.5:http": false,
		"a b:80": false, "evil/path?x=:80": false, "user@host:80": false, "-x:80": false, "\x1b[2J:80": false,
		strings.Repeat("a", 300) + ":80": false,
	} {
		if got := validTarget(at); got != want {
			t.Errorf("%q: %v", at, got)
		}
	}
}
