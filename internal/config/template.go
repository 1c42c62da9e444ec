package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"text/template"

	"github.com/rackreach/rackreach/internal/rack"
)

// MaxRendered bounds what a template makes, in bytes: the configuration of a switch
// with a thousand ports.
const MaxRendered = 1 << 20

// functions are what a template may use besides those of text/template.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		b, err := json.MarshalIndent(v, "", "  ")
		return string(b), err
	},
	"join": func(texts []string, between string) (string, error) {
		if len(texts)*len(between) > MaxRendered {
			return "", fmt.Errorf("it makes more than %d bytes", MaxRendered)
		}
		return strings.Join(texts, between), nil
	},
}

// limited refuses what is written beyond a bound.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, fmt.Errorf("it makes more than %d bytes", MaxRendered)
	}
	return l.Buffer.Write(b)
}

// Render fills a template in with *Values or *Served. Its errors name the place in the
// template.
func Render(name, text string, v any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return "", err
	}
	if err := Bound(t, functions); err != nil {
		return "", err
	}
	out := &limited{left: MaxRendered}
	if err := t.Execute(out, v); err != nil {
		return "", err
	}
	return out.String(), nil
}

// Check says what is wrong with a template, by filling it in for a made-up device.
func Check(name, text string) error {
	_, err := Render(name, text, Sample())
	return err
}

// Sample is a made-up management switch in a rack with everything that values speak of.
func Sample() *Values {
	at := netip.AddrFrom4
	r := &rack.Rack{Name: "r1", Number: 1, Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.1.0/24"),
		ManagementRouter: at([4]byte{192, 168, 100, 253}), DataRouter: at([4]byte{10, 0, 1, 253}),
		Services: rack.Services{DNS: []netip.Addr{at([4]byte{192, 0, 2, 53})}, NTP: []netip.Addr{at([4]byte{192, 0, 2, 123})}, Syslog: at([4]byte{192, 0, 2, 14}), Domain: "r1.example.net"}}
	r.VLANs = []rack.VLAN{
		{Name: "provisioning", ID: 100, Untagged: []rack.PortRole{rack.AgentPort, rack.BMCPort, rack.ManagementPort, rack.UplinkPort, rack.ServerPort}},
		{Name: "tenants", ID: 200, Tagged: []rack.PortRole{rack.UplinkPort, rack.ServerPort, rack.OutsidePort}},
	}
	r.Agent.Cable = rack.Port{Device: "switch-1", Name: "48"}
	r.Devices = []rack.Device{
		{Name: "switch-1", Role: rack.ManagementSwitch, Address: at([4]byte{192, 168, 100, 1})},
		{Name: "server-01", Role: rack.Server, Address: at([4]byte{10, 0, 1, 11}), Management: rack.Port{Device: "switch-1", Name: "1"}, Data: []rack.Port{{Device: "switch-1", Name: "11"}}},
	}
	r.Links = []rack.Link{{A: rack.Port{Device: "switch-1", Name: "53"}, B: rack.Port{Device: "external", Name: "datacenter"}, Kind: rack.Trunk}}
	v, err := New(r, "switch-1", Life{Run: "RUN", Ticket: "r1/switch-1/1", Image: rack.Image{Name: "image", Digest: "sha256:" + strings.Repeat("0", 64)}})
	if err != nil {
		panic("the sample: " + err.Error())
	}
	return v
}
