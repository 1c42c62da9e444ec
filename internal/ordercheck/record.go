package ordercheck

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	maxLine  = 1 << 20   // bytes of one line
	maxLines = 5_000_000 // of one record
)

// The kinds of lines that the rules are about.
const (
	forwardingStarted = "forwarding-started"
	forwardingStopped = "forwarding-stopped"
	packet            = "packet"
	bmcCommand        = "bmc-command"
	bmcPower          = "bmc-power"
	bmcBootDevice     = "bmc-boot-device"
	imageByte         = "image-byte"
	installCompleted  = "install-completed"
	installFailed     = "install-failed"
	receiptRead       = "receipt-read"
)

// known lists every kind; the value says whether a line of it must name a device
// of the rack. What was dropped touched nobody: such a line may name an address
// that nobody has.
var known = map[string]bool{
	forwardingStarted: true, forwardingStopped: true, packet: true, bmcCommand: true, bmcPower: true,
	bmcBootDevice: true, imageByte: true, "image-completed": true, "install-started": true,
	installCompleted: true, installFailed: true, "install-kept": true, "install-refused": true, "booted": true, "config-applied": true, "config-reverted": true,
	receiptRead: true, "fault": true, "dropped": false, "dropped-total": false,
}

// line is one thing that happened.
type line struct {
	Seq    int64          `json:"seq"`
	Time   time.Time      `json:"time"`
	Kind   string         `json:"kind"`
	Device string         `json:"device"`
	Via    []string       `json:"via"`
	Detail map[string]any `json:"detail"`
}

// touches reports whether something from outside reached the device.
func (l *line) touches() bool {
	switch l.Kind {
	case packet, bmcCommand, bmcPower, bmcBootDevice, imageByte:
		return true
	}
	return false
}

// network is the network that a touch came through: what the line says, else
// management for BMC commands and for a switch's image, data for a server's.
func (l *line) network(c *cabling) (string, error) {
	switch n, said := l.Detail["network"]; {
	case said && (n == "management" || n == "data"):
		return n.(string), nil
	case said || l.Kind == packet:
		return "", fmt.Errorf("line %d of the record: a %s on no known network", l.Seq, l.Kind)
	case l.Kind == imageByte && c.role[l.Device] == server:
		return "data", nil
	}
	return "management", nil
}

// readRecord reads the lines and holds that none is missing: they count from 1.
func readRecord(in io.Reader, c *cabling) ([]line, error) {
	var out []line
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	for s.Scan() {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d of the record: %w", len(out)+1, err)
		}
		named, ok := known[l.Kind]
		_, inRack := c.role[l.Device]
		switch {
		case l.Seq != int64(len(out)+1):
			return nil, fmt.Errorf("line %d of the record has number %d: lines are missing or out of order", len(out)+1, l.Seq)
		case !ok:
			return nil, fmt.Errorf("line %d of the record: unknown kind %q", l.Seq, l.Kind)
		case named && !inRack:
			return nil, fmt.Errorf("line %d of the record: the rack file has no device %q", l.Seq, l.Device)
		case len(out) == maxLines:
			return nil, fmt.Errorf("the record has more than %d lines", maxLines)
		}
		out = append(out, l)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the record: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("the record is empty: it proves nothing")
	}
	return out, nil
}
