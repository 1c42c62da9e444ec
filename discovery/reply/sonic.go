package reply

import (
	"net/url"
	"strings"
)

// optionScript is where SONiC and Cumulus look for the URL of a script.
const optionScript = 239

// sonic is SONiC's zero-touch provisioning: option 67 is the URL of its JSON, which
// it looks for first, option 239 that of a script (sonic-ztp, ztp-engine.py). What
// ProvisionURL is, the end of its path says.
func (e *Entry) sonic(b *boots) {
	switch {
	case e.ProvisionURL == "":
	case isJSON(e.ProvisionURL):
		b.load(e.ProvisionURL)
	default:
		b.also(optionScript, []byte(e.ProvisionURL))
	}
}

func isJSON(s string) bool {
	u, err := url.Parse(s)
	return err == nil && strings.HasSuffix(strings.ToLower(u.Path), ".json")
}
