package boot

import (
	"fmt"
	"strings"
)

// script is the iPXE script of a ticket. Names come from the rack file, but a
// line feed or a "${" in one would be a command to iPXE, so they are escaped
// all the same.
func (s *Services) script(t Ticket) string {
	if script, ok := s.diskScript(t); ok {
		return script
	}
	var b strings.Builder
	b.WriteString("#!ipxe\n")
	fmt.Fprintf(&b, "# rackreach: rack %s, device %s (%s), ticket %s\n", word(t.Rack), word(t.Device), word(string(t.Role)), word(t.ID))
	fmt.Fprintf(&b, "# image %s %s\n", word(t.Image.Name), word(t.Image.Digest))
	fmt.Fprintf(&b, "kernel %s rackreach.job=%s\n", s.InstallerURL(t), s.JobURL(t))
	b.WriteString("boot\n")
	return b.String()
}

// word keeps letters, digits and a little punctuation, and writes every other
// byte as %XX.
func word(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._:/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
