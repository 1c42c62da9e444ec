package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/rackreach/rackreach/internal/adjacency"
	"github.com/rackreach/rackreach/internal/printable"
)

// Port is where switches answer (RFC 3417 section 3.2).
const Port = 161

// Bounds of a conversation.
const (
	timeout   = 2 * time.Second  // for one answer
	retries   = 2                // of one question
	longest   = 30 * time.Second // for a table
	maxValues = 32768            // of one table: a MAC table of some thousand rows, in two columns
	maxWords  = 200              // bytes of an error
)

// errEndless ends a table that has more than maxValues values.
var errEndless = fmt.Errorf("it answers with more than %d values", maxValues)

// Client asks switches. It is safe for concurrent use.
type Client struct {
	// Dial opens the wire to a device: network is "udp", address "host:port".
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New is a client that reaches switches through dial.
func New(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	return &Client{dial}
}

// Neighbours reads whom a switch hears by LLDP. Errors say what was asked for, and never
// the community.
func (c *Client) Neighbours(ctx context.Context, to netip.AddrPort, community string) ([]adjacency.Neighbour, error) {
	t := newTables(lldpRem, lldpLoc, ifName)
	if err := c.read(ctx, to, community, t, lldpRem, lldpLoc); err != nil {
		return nil, fmt.Errorf("read neighbours by SNMP: %w", err)
	}
	return t.neighbours()
}

// Stations reads which stations a switch has learned at which port.
func (c *Client) Stations(ctx context.Context, to netip.AddrPort, community string) ([]adjacency.Station, error) {
	t := newTables(qFDB, dFDB, basePort, ifName)
	err := c.read(ctx, to, community, t, qFDB)
	if err == nil && len(t.values[qFDB]) == 0 {
		err = c.read(ctx, to, community, t, dFDB)
	}
	if err == nil {
		err = c.read(ctx, to, community, t, basePort, ifName)
	}
	if err != nil {
		return nil, fmt.Errorf("read MAC table by SNMP: %w", err)
	}
	return t.stations()
}

// read walks tables. What panics in the library ends as an error.
func (c *Client) read(ctx context.Context, to netip.AddrPort, community string, t *tables, roots ...string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s answers with something that cannot be read", to)
		}
	}()
	g, err := c.connect(ctx, to, community)
	if err != nil {
		return err
	}
	defer g.Close() //nolint:errcheck // nothing was written that could be lost
	for _, root := range roots {
		n := 0
		err := g.BulkWalk(root, func(v gosnmp.SnmpPDU) error {
			if n++; n > maxValues {
				return errEndless
			}
			t.add(root, v)
			return nil
		})
		if err != nil {
			text := strings.ReplaceAll(err.Error(), community, "***")
			return fmt.Errorf("%s: %s: look whether it lets this machine read by SNMP version 2c, with the community that the platform names", to, printable.Line(text, maxWords))
		}
	}
	return nil
}

// connect makes a session over our own wire. The library opens one of its own, through
// which nothing is sent: that is closed again.
func (c *Client) connect(ctx context.Context, to netip.AddrPort, community string) (*gosnmp.GoSNMP, error) {
	if community == "" {
		return nil, errors.New("no community was given")
	}
	g := &gosnmp.GoSNMP{Target: "127.0.0.1", Port: Port, Version: gosnmp.Version2c, Community: community, Context: ctx, Timeout: timeout, Retries: retries, MaxRepetitions: 25, MaxOids: gosnmp.MaxOids}
	if err := g.Connect(); err != nil {
		return nil, err
	}
	if err := g.Conn.Close(); err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, "udp", net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
	if err != nil {
		return nil, err
	}
	g.Conn = conn
	return g, nil
}
