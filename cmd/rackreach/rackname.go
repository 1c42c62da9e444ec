package main

import "regexp"

// ofDevice are commands about a device as advice writes them: of one rack.
var ofDevice = regexp.MustCompile(`\brackreach (why|retry|reimage|replace|skip|bind|identify|timeline) ([A-Za-z0-9][A-Za-z0-9.-]*)(/|\b)`)

// named lets the commands of an advice name their rack, for where there are others:
// rackreach retry tor-1 becomes rackreach retry r2/tor-1. An empty rack changes
// nothing.
func named(rack, advice string) string {
	if rack == "" {
		return advice
	}
	advice = ofDevice.ReplaceAllStringFunc(advice, func(s string) string {
		m := ofDevice.FindStringSubmatch(s)
		if m[3] == "/" || m[2] == "FILE" || m[2] == rack {
			return s
		}
		return "rackreach " + m[1] + " " + rack + "/" + m[2]
	})
	ofRack := regexp.MustCompile(`\brackreach (resume|halt|watch)( ` + regexp.QuoteMeta(rack) + `\b)?`)
	return ofRack.ReplaceAllString(advice, "rackreach $1 "+rack)
}

// inRack is the rack's name if commands must say it; empty: there is only one.
func (c *reached) inRack() string {
	if c.several {
		return c.rack
	}
	return ""
}
