package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/capture"
	"github.com/rackreach/rackreach/discovery/classify"
)

// Bounds of what is kept of one capture.
const (
	maxSenders = 10000 // different decisions
	maxNumbers = 16    // packets that one decision names
	maxBroken  = 16    // packets that no server would read
)

// captured is what a capture said.
type captured struct {
	Packets  int            `json:"packets"`
	Requests int            `json:"requests"`
	Replies  int            `json:"replies"`
	Cut      int            `json:"cut"`
	Pieces   int            `json:"fragments"`
	Other    int            `json:"other"`
	Senders  []*decision    `json:"senders"`
	Broken   []brokenPacket `json:"unreadable,omitempty"`
	NotShown int            `json:"unreadableNotShown,omitempty"`

	seen map[string]*decision
}

// brokenPacket is a message that no DHCP server would read.
type brokenPacket struct {
	Packet int    `json:"packet"`
	Why    string `json:"why"`
}

// capture explains the packets of a capture file. One that ends badly is explained
// up to there.
func (c *classifying) capture(in io.Reader, out io.Writer, rules *classify.Rules, own string) (err error) {
	name := "standard input"
	if c.pcap != "-" {
		name = c.pcap
		f, openErr := os.Open(c.pcap)
		if openErr != nil {
			return badInput(fmt.Errorf("--pcap: %w: give the path of a file of tcpdump -w FILE", openErr))
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	all := &captured{Senders: []*decision{}, seen: map[string]*decision{}}
	sum, trouble := capture.Read(in, func(m capture.Message) error { return all.add(m, rules) })
	all.Packets, all.Requests, all.Replies, all.Cut, all.Pieces, all.Other = sum.Packets, sum.Requests, sum.Replies, sum.Cut, sum.Fragments, sum.Other
	if trouble != nil {
		trouble = badInput(fmt.Errorf("%s: %w", name, trouble))
	}
	if sum.Packets == 0 && trouble != nil {
		return trouble
	}
	if c.output == "json" {
		return errors.Join(writeJSON(out, all), trouble)
	}
	p := printer{w: out}
	all.print(&p, own)
	return errors.Join(p.err, trouble)
}

// add explains one packet, and counts it with those that said the same.
func (c *captured) add(m capture.Message, rules *classify.Rules) error {
	look, err := discovery.LookAt(m.Payload, rules)
	if err != nil {
		if len(c.Broken) < maxBroken {
			c.Broken = append(c.Broken, brokenPacket{m.Number, err.Error()})
		} else {
			c.NotShown++
		}
		return nil
	}
	relay := look.Keys.Via.String()
	switch via := look.Keys.Via; {
	case via.IsZero():
		relay = ""
	case via.Device == "":
		relay = via.Name
	}
	key := fmt.Sprintf("%s %v %s %q", look.Keys.MAC, m.VLANs, relay, look.Said.Sent())
	d := c.seen[key]
	if d == nil {
		if len(c.Senders) == maxSenders {
			return &capture.Problem{What: fmt.Sprintf("more than %d senders", maxSenders), Do: "look at fewer: tcpdump -r FILE -w SMALLER 'ether host MAC'"}
		}
		d = decisionOf(rules, look.Said)
		d.MAC, d.VLANs, d.Relay, d.Message = look.Keys.MAC, m.VLANs, relay, look.Message
		c.seen[key] = d
		c.Senders = append(c.Senders, d)
	}
	if d.Count++; len(d.Packets) < maxNumbers {
		d.Packets = append(d.Packets, m.Number)
	}
	return nil
}

func (c *captured) print(p *printer, own string) {
	for _, d := range c.Senders {
		p.line("%s", d.heading())
		d.print(p, own)
		p.line("")
	}
	for _, b := range c.Broken {
		p.line("packet %d: no server would read it: %s", b.Packet, b.Why)
	}
	if c.NotShown > 0 {
		p.line("%d more like these", c.NotShown)
	}
	p.line("%d packets: %d of DHCP clients, %d of servers, %d others", c.Packets, c.Requests, c.Replies, c.Other+c.Cut+c.Pieces)
	if c.Cut > 0 {
		p.line("%d of DHCP are cut off: capture with tcpdump -s 0", c.Cut)
	}
	if c.Pieces > 0 {
		p.line("%d are pieces of IP packets, which are not put together", c.Pieces)
	}
}

// heading names the packets of a decision and where they came from.
func (d *decision) heading() string {
	var b strings.Builder
	word := "packet"
	if d.Count > 1 {
		word = "packets"
	}
	numbers := strings.Trim(strings.ReplaceAll(fmt.Sprint(d.Packets), " ", ", "), "[]")
	if d.Count > len(d.Packets) {
		numbers += fmt.Sprintf(", … (%d)", d.Count)
	}
	fmt.Fprintf(&b, "%s %s: %s of %s", word, numbers, d.Message, d.MAC)
	if len(d.VLANs) > 0 {
		names := slices.Collect(func(yield func(string) bool) {
			for _, v := range d.VLANs {
				if !yield(fmt.Sprint(v)) {
					return
				}
			}
		})
		b.WriteString(" in VLAN " + strings.Join(names, " in "))
	}
	if d.Relay != "" {
		b.WriteString(", relayed from port " + d.Relay)
	}
	return b.String()
}
