package rack

import (
	"path"
	"strings"
)

// Access is how an installed device is logged in to.
type Access struct {
	// Credentials is a reference to user:password; with a Key the password may be empty.
	Credentials string
	Key         string `json:",omitzero"` // a reference to a private SSH key; empty: by password
	Port        uint16 `json:",omitzero"` // of SSH; 0: 22
}

// Reference splits a reference to a secret: "env:NAME", "file:/PATH", or "age:/PATH" of
// a file that is encrypted. ok is false for what is none, and may be a secret itself.
func Reference(s string) (kind, name string, ok bool) {
	kind, name, _ = strings.Cut(s, ":")
	switch kind {
	case "env":
		return kind, name, variable(name)
	case "file", "age":
		return kind, name, path.IsAbs(name) && path.Clean(name) == name && len(name) <= maxSource && plain(name, maxSource, "-_./@+")
	}
	return "", "", false
}

// References are the forms of a reference, for messages.
const References = `"env:NAME", "file:/PATH", or "age:/PATH" of a file that is encrypted with age`

// reference holds that a field is a reference. Its text is never repeated: it may be a
// secret by mistake.
func (c *checker) reference(i int, field, text, holds string) {
	if _, _, ok := Reference(text); !ok {
		c.say("devices", i, field, References+", which holds "+holds, "%s is not a reference: secrets do not stand in a rack file", field)
	}
}

// access checks how an installed device is logged in to.
func (c *checker) access(i int, d *Device) {
	p, known := c.platforms[d.Platform]
	if d.Access == nil {
		if known && p.LogsIn() {
			c.say("devices", i, "access", `access: {credentials: "env:NAME"}`, "no access: platform %s configures the device over %s", shown(d.Platform), map[bool]string{true: "SSH", false: "HTTP"}[p.SpeaksSSH()])
		}
		return
	}
	if known && !p.LogsIn() {
		c.say("devices", i, "access", "no access here", "platform %s does not log in to the device", shown(d.Platform))
	}
	if known && p.Provision != nil && p.Provision.Key && d.Access.Key == "" {
		c.say("devices", i, "access", `key: "file:/PATH", of a private key, in access`, "no key in access: platform %s lets us in by a key, and by nothing else", shown(d.Platform))
	}
	c.reference(i, "access.credentials", d.Access.Credentials, "user:password")
	if d.Access.Key != "" {
		c.reference(i, "access.key", d.Access.Key, "a private key of OpenSSH")
	}
}

// LogsIn reports whether a step of the platform logs in to the device.
func (p *Platform) LogsIn() bool {
	for i := range p.Steps {
		if x := p.Steps[i].HTTP; x != nil && x.Login {
			return true
		}
	}
	return p.SpeaksSSH()
}

// SpeaksSSH reports whether a step of the platform logs in to the device over SSH.
func (p *Platform) SpeaksSSH() bool {
	for i := range p.Steps {
		if p.Steps[i].SSH != nil {
			return true
		}
	}
	return false
}
