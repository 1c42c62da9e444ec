package platform

import (
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// maxDocuments bounds what a platform gives a system at its first boot.
const maxDocuments = 16

// documentName is the last part of a URL. "report" is where devices report.
var documentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

// provisionOptions are the DHCP options that may carry the URL of the first document:
// the boot file (RFC 2132), and those that SONiC and Cumulus (239) and Dell OS10 (240)
// look for.
var provisionOptions = []string{"67", "239", "240"}

// provision reads what the system asks for at its first boot.
func (r *reader) provision() {
	n, ok := r.keys["provision"]
	if !ok {
		return
	}
	m := r.Mapping(n, "provision", "option", "login", "documents")
	if m == nil {
		return
	}
	p := &rack.Provision{}
	if x, ok := m["option"]; ok {
		if v, err := strconv.ParseUint(oneOf(r, x, "a DHCP option for that", provisionOptions), 10, 8); err == nil {
			p.Option = uint8(v)
		}
	}
	if x, ok := m["login"]; ok {
		p.Key = oneOf(r, x, "a way to log in that a document needs", []string{"key"}) == "key"
	}
	const fix = "documents: [{file: ztp.json, template: acme-ztp.json}]"
	x, ok := m["documents"]
	if !ok {
		r.Say(n.Line, fix, "provision has no documents")
		return
	}
	for _, one := range r.List(x, "documents", fix, maxDocuments) {
		d, ok := r.document(one)
		if _, twice := p.Document(d.Name); twice && ok {
			r.Say(one.Line, "another name", "two documents are called %s", d.Name)
		}
		p.Documents = append(p.Documents, d)
	}
	if len(p.Documents) == 0 {
		r.Say(x.Line, fix, "provision has no documents")
	}
	r.d.Provision = p
}

func (r *reader) document(n *yaml.Node) (d rack.Document, ok bool) {
	m := r.Mapping(n, "a document", "file", "template")
	if m == nil {
		return d, false
	}
	x, ok := m["file"]
	if !ok {
		r.Say(n.Line, "file: and the name that the device asks for, such as ztp.json", "a document has no name")
		return d, false
	}
	if d.Name = r.matching(x, "the name of a document", maxName, documentName, "a file name such as ztp.json"); d.Name == "report" {
		r.Say(x.Line, "another name", "report is where devices report")
	}
	t, ok := m["template"]
	if !ok {
		r.Say(n.Line, "template: and the name of a file beside this one", "document %s has no template", d.Name)
		return d, false
	}
	d.From, d.Template = r.template(t, config.CheckServed)
	return d, d.Name != ""
}

// template reads a file beside the platform's, and holds that it can be filled in.
func (r *reader) template(n *yaml.Node, check func(name, text string) error) (name, text string) {
	if name = r.matching(n, "the name of a template", maxName, templateName, "the name of a file beside this one, such as acme.conf"); name == "" {
		return "", ""
	}
	b, err := r.file.open(name)
	if err != nil {
		r.Say(n.Line, "the name of a file beside this one", "template %s: %s", name, strictyaml.Unreadable(err))
		return name, ""
	}
	if err := check(name, string(b)); err != nil {
		r.Say(n.Line, "a template that can be filled in: docs/platforms.md lists its values", "template %s: %s", name, why(err))
	}
	return name, string(b)
}

// provisioned holds that whoever asks at its first boot is still answered.
func (r *reader) provisioned() {
	switch p := r.d.Provision; {
	case p == nil:
	case r.d.TicketEnds == rack.DHCPNOS || r.d.TicketEnds == rack.DHCPONIE || r.d.TicketEnds == rack.FetchedImage:
		r.Say(r.line("provision"), "ticketEnds: reported:installed, and a document that reports to {{.URL}}/report/installed",
			"documents are served while the ticket is open, and that of %s ends with %s", r.d.Name, r.d.TicketEnds)
	}
	for _, role := range r.d.Roles {
		if r.d.Provision != nil && role == rack.Server {
			r.Say(r.line("provision"), "install: of the device in the rack file", "a server is not provisioned at its first boot")
		}
	}
}
