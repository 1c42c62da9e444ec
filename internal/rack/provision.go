package rack

// Provision is what a network operating system is given when it asks at its first boot
// (zero-touch provisioning), as long as the device's ticket is open: documents over HTTP,
// the first of which a DHCP reply names.
type Provision struct {
	// Option is the DHCP option that carries the whole URL of the first document; 0: as
	// the vendor that its vendor strings name is known to want it (discovery/reply).
	Option uint8 `json:",omitzero"`
	// Key: the documents let us in by a public key, and by nothing else.
	Key       bool `json:",omitzero"`
	Documents []Document
}

// Document is one file of a Provision.
type Document struct {
	Name     string // the last part of its URL
	From     string // name of the template, for messages
	Template string // its text, filled in for the device (internal/config)
}

// Document finds a document by its name.
func (p *Provision) Document(name string) (Document, bool) {
	if p != nil {
		for _, d := range p.Documents {
			if d.Name == name {
				return d, true
			}
		}
	}
	return Document{}, false
}
