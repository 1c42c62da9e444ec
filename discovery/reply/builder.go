package reply

import (
	"encoding/binary"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// maxTemplates bounds the templates that are kept: of a rack's devices in each of
// their stages, with room to spare. When it is reached all are dropped: a stranger
// who makes up lists of options costs time, not memory.
const maxTemplates = 1024

// maxTemplate bounds one of them, in bytes: what fits one Ethernet frame.
const maxTemplate = 1500

// Builder makes answers. One goroutine uses it.
type Builder struct {
	templates map[key]template
}

// NewBuilder makes a builder without templates.
func NewBuilder() *Builder { return &Builder{templates: map[key]template{}} }

// key is what two answers must have in common to differ only in what is patched.
type key struct {
	entry    Entry // without Device, End, Address and Pool
	kind     dhcpv4.MessageType
	request  dhcpv4.MessageType
	serverID netip.Addr
	proxy    bool
	stage    rack.Stage
	vendor   string
	iosxr    bool
	class    byte // what option 60 begins with
	wants    string
	item     string
}

// template is an answer without the fields that are patched and without the options
// that are returned as they came.
type template struct {
	bytes []byte
	echo  int  // where option 61 and the others go in
	less  bool // an option fits no frame at all, and is not in it
}

// Append writes an answer behind b, which must be empty, and returns it. truncated
// reports that something was left out because the client takes no longer message.
func (t *Builder) Append(b []byte, e *Entry, c *Client, m *Message) (packet []byte, truncated bool) {
	if m.Kind == dhcpv4.MessageTypeNak { // each has a text of its own
		return compose(b, e, c, m)
	}
	x := t.template(e, c, m)
	if len(x.bytes)+len(m.ClientID)+len(m.Echo)+len(m.Relay)+1 > c.Limit || x.less {
		return compose(b, e, c, m) // something is left out
	}
	b = append(b, x.bytes[:x.echo]...)
	b = append(append(b, m.ClientID...), m.Echo...)
	b = append(b, x.bytes[x.echo:]...)
	m.patch(b)
	return finish(append(b, m.Relay...)), false
}

// template finds the template of an answer, or makes it.
func (t *Builder) template(e *Entry, c *Client, m *Message) template {
	k := key{entry: *e, kind: m.Kind, request: c.Kind, serverID: m.ServerID, proxy: m.Proxy, stage: c.Stage, vendor: c.Vendor,
		iosxr: c.IOSXR, class: c.named(), wants: string(c.Wants), item: string(c.Item)}
	k.entry.Device, k.entry.End, k.entry.Address, k.entry.Pool = "", "", netip.Addr{}, Entry{}.Pool
	if x, ok := t.templates[k]; ok {
		return x
	}
	p, list := library(e, c, m)
	w := writer{out: p.ToBytes()[:HeaderSize], room: maxTemplate, closed: closed(c)}
	x := template{}
	for _, o := range list {
		if x.echo == 0 && !first(o) {
			x.echo = len(w.out)
		}
		w.option(o)
	}
	if x.echo == 0 {
		x.echo = len(w.out)
	}
	x.bytes, x.less = w.out, w.truncated
	if len(t.templates) >= maxTemplates {
		clear(t.templates)
	}
	t.templates[k] = x
	return x
}

// named is what option 60 begins with, as far as an answer depends on it.
func (c *Client) named() byte {
	switch {
	case c.says("PXEClient"):
		return 1
	case c.says("HTTPClient"):
		return 2
	}
	return 0
}

// first reports whether an option stands before those that are returned as they came.
func first(o dhcpv4.Option) bool {
	switch o.Code.Code() {
	case optionMessageType, optionServerID, optionLease:
		return true
	}
	return false
}

// compose writes an answer option by option, within the client's limit.
func compose(b []byte, e *Entry, c *Client, m *Message) (packet []byte, truncated bool) {
	p, list := library(e, c, m)
	w := newWriter(append(b, p.ToBytes()[:HeaderSize]...), c, m)
	echoed := false
	for _, o := range list {
		if !echoed && !first(o) {
			echoed = true
			w.echo(m.ClientID)
			w.echo(m.Echo)
		}
		w.option(o)
	}
	if !echoed {
		w.echo(m.ClientID)
		w.echo(m.Echo)
	}
	m.patch(w.out)
	return finish(append(w.out, w.last...)), w.truncated
}

// patch writes the fields of the header that are this client's own (RFC 2131 table
// 3). hops and secs are zero.
func (m *Message) patch(b []byte) {
	b[1], b[2] = m.HType, byte(len(m.Hardware))
	copy(b[4:8], m.XID[:])
	binary.BigEndian.PutUint16(b[10:12], m.Flags)
	for at, a := range [...]netip.Addr{12: m.CIAddr, 16: m.YIAddr, 24: m.GIAddr} {
		if a.Is4() {
			v := a.As4()
			copy(b[at:], v[:])
		}
	}
	copy(b[28:34], m.Hardware[:])
}

// finish closes the options and pads the packet to the least length of BOOTP.
func finish(b []byte) []byte {
	b = append(b, optionEnd)
	for len(b) < MinMessage {
		b = append(b, optionPad)
	}
	return b
}
