// Package deviceapi talks to the management API of an installed device: it
// pushes a configuration, reads the receipt that the device keeps of what was
// done to it, reads a switch's MAC table and its neighbours, and sends an ONIE switch back into its
// installer.
//
// This is the API of the simulated network operating system and hypervisor,
// plain HTTP on port 80 of the device's own address. Nothing that a real
// product ships speaks it.
package deviceapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Dial opens a connection to a device. It ends soon after its context does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Port is where devices serve their API.
const Port = 80

// Bounds of what a device may answer.
const (
	maxAnswer  = 256 << 10 // bytes: a MAC table of some thousand rows
	maxWords   = 200       // bytes of a device's own words in a message
	maxMACRows = 4096
	maxPort    = 64 // bytes of the name of a port, a device or a rack

	maxNeighbours = 1024 // rows: no switch has so many ports
)

// Client talks to devices. It is safe for concurrent use.
type Client struct{ http *http.Client }

// New is a client that reaches devices through dial. Connections are not kept:
// every call proves the way to the device anew.
func New(dial Dial) *Client {
	return &Client{http: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, ResponseHeaderTimeout: 5 * time.Minute, MaxResponseHeaderBytes: 16 << 10},
		// A device has no business sending us elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Push sends a configuration and returns when the device has applied it.
func (c *Client) Push(ctx context.Context, address netip.Addr, config []byte) error {
	_, err := c.call(ctx, http.MethodPut, address, "/rackreach/config", config, http.StatusNoContent)
	if err != nil {
		return fmt.Errorf("push configuration: %w", err)
	}
	return nil
}

// Receipt is what a device keeps of the last job and configuration.
type Receipt struct {
	Rack   string `json:"rack"`
	Device string `json:"device"`
	Run    string `json:"run"`
	Ticket string `json:"ticket"`
	Image  string `json:"image"`
	Digest string `json:"digest"` // of the image that it wrote, as it computed it
	Config string `json:"config"` // digest of the configuration that it applied
}

// Holds is how a job or an order names what a device with this receipt holds and
// what is lost when the device is imaged anew.
func (r Receipt) Holds() string { return "receipt:" + r.Run + "/" + r.Ticket }

// BootInstaller sends an ONIE switch that runs its installed system back into its
// installer, for one boot. holds must name what the switch holds, as
// Receipt.Holds does; otherwise the switch does nothing and the error says what
// it does hold. It returns when the switch has agreed, before it reboots.
func (c *Client) BootInstaller(ctx context.Context, address netip.Addr, holds string) error {
	body, err := json.Marshal(struct {
		Holds string `json:"holds"`
	}{holds})
	if err == nil {
		_, err = c.call(ctx, http.MethodPost, address, "/rackreach/installer", body, http.StatusNoContent)
	}
	if err != nil {
		return fmt.Errorf("boot installer: %w", err)
	}
	return nil
}

// Receipt reads a device's receipt.
func (c *Client) Receipt(ctx context.Context, address netip.Addr) (Receipt, error) {
	var r Receipt
	body, err := c.call(ctx, http.MethodGet, address, "/rackreach/receipt", nil, http.StatusOK)
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("read receipt: %w", err)
	}
	return r, nil
}

// ConfigDigest is how a receipt names a configuration.
func ConfigDigest(config []byte) string {
	sum := sha256.Sum256(config)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Check says how a receipt differs from what it should say, or nil.
func (r Receipt) Check(want Receipt) error {
	var errs []error
	for _, f := range []struct{ name, got, want string }{
		{"rack", r.Rack, want.Rack}, {"device", r.Device, want.Device}, {"run", r.Run, want.Run},
		{"image digest", r.Digest, want.Digest}, {"configuration digest", r.Config, want.Config},
	} {
		if f.got != f.want {
			errs = append(errs, fmt.Errorf("its receipt says %s %s, it should be %s", f.name, words(f.got), words(f.want)))
		}
	}
	return errors.Join(errs...)
}

// MACTable reads which stations a switch has heard on which of its ports.
func (c *Client) MACTable(ctx context.Context, address netip.Addr, name string) ([]rack.Observation, error) {
	body, err := c.call(ctx, http.MethodGet, address, "/rackreach/mac-table", nil, http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("read MAC table: %w", err)
	}
	var rows []struct {
		Port string `json:"port"`
		MAC  string `json:"mac"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return nil, fmt.Errorf("read MAC table: %w", err)
	}
	if len(rows) > maxMACRows {
		return nil, fmt.Errorf("read MAC table: %d rows, more than the %d that a rack can have", len(rows), maxMACRows)
	}
	var out []rack.Observation
	for _, row := range rows {
		mac, err := net.ParseMAC(row.MAC)
		if err != nil || len(row.Port) == 0 || len(row.Port) > maxPort {
			continue // a row that says nothing
		}
		out = append(out, rack.Observation{Source: rack.FromMACTable, MAC: mac.String(), Via: rack.Port{Device: name, Name: row.Port}})
	}
	return out, nil
}

// Neighbour is what a switch hears by LLDP at one of its ports. Its words are
// bounded and escaped.
type Neighbour struct {
	Port       string // of the switch that was asked
	Rack       string
	Device     string
	RemotePort string
}

// Neighbours reads what a switch hears at its ports. A port has one neighbour,
// unless something between two switches repeats what it hears.
func (c *Client) Neighbours(ctx context.Context, address netip.Addr) ([]Neighbour, error) {
	body, err := c.call(ctx, http.MethodGet, address, "/rackreach/neighbours", nil, http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("read neighbours: %w", err)
	}
	var rows []struct {
		Port       string `json:"port"`
		Rack       string `json:"rack"`
		Device     string `json:"device"`
		RemotePort string `json:"remotePort"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		return nil, fmt.Errorf("read neighbours: %w", err)
	}
	if len(rows) > maxNeighbours {
		return nil, fmt.Errorf("read neighbours: %d rows, more than the %d that a switch can have", len(rows), maxNeighbours)
	}
	var out []Neighbour
	for _, row := range rows {
		if row.Port == "" || len(row.Port) > maxPort || row.Device == "" {
			continue // a row that says nothing
		}
		out = append(out, Neighbour{name(row.Port), name(row.Rack), name(row.Device), name(row.RemotePort)})
	}
	return out, nil
}

// name is a name that a stranger gives, bounded and escaped, without the quotes.
func name(s string) string {
	s = strconv.QuoteToASCII(s[:min(len(s), maxPort)])
	return s[1 : len(s)-1]
}

func (c *Client) call(ctx context.Context, method string, address netip.Addr, path string, body []byte, want int) (answer []byte, err error) {
	url := "http://" + net.JoinHostPort(address.String(), strconv.Itoa(Port)) + path
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	if resp.StatusCode != want {
		return nil, fmt.Errorf("%s answered %d: %s", address, resp.StatusCode, words(string(answer)))
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("%s answered more than %d bytes", address, maxAnswer)
	}
	return answer, nil
}

// words are a device's own words, bounded and escaped.
func words(s string) string {
	if len(s) > maxWords {
		s = s[:maxWords] + "…"
	}
	return strconv.QuoteToASCII(s)
}
