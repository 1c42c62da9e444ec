package config

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestRender(t *testing.T) {
	v := Sample()
	for _, tt := range []struct{ text, want, fails string }{
		{"hostname {{.Device}}.{{.Domain}}", "hostname switch-1.r1.example.net", ""},
		{"{{.FullName}} {{.Address}}/{{.Bits}} {{.Netmask}} {{.Network}} {{.Router}}", "switch-1.r1.example.net 192.168.100.1/24 255.255.255.0 192.168.100.0/24 192.168.100.253", ""},
		{`{{join .DNS ","}} {{join .NTP ","}} {{.Syslog}}`, "192.0.2.53 192.0.2.123 192.0.2.14", ""},
		{"{{range .Ports}}{{.Name}} {{.Network}} {{.Peer}};{{end}}", "48 agent agent;1 management server-01;11 data server-01;53 trunk external:datacenter;", ""},
		{`{{range .On "data"}}{{.Name}}{{end}} {{.Agent}}`, "11 48", ""},
		{`{{range .For "bmc"}}{{.Name}} {{.Untagged}} {{.Tagged}}{{end}} {{.VLAN}} {{.VLANs}}`, "1 100 [] 100 [{provisioning 100} {tenants 200}]", ""},
		{`{{range .For "server"}}{{.Name}} {{.Untagged}} {{.Tagged}}{{end}}`, "11 100 [200]", ""},
		{"{{json .DNS}}", "[\n  \"192.0.2.53\"\n]", ""},
		{"{{.Receipt}}", "rackreach-receipt: rack=r1 device=switch-1 run=RUN ticket=r1/switch-1/1 image=sha256:" + strings.Repeat("0", 64), ""},
		{"{{.Password}}", "", "Password"},
		{"{{end}}", "", "unexpected"},
		{`{{template "x"}}`, "", `"x" not defined`},
		{strings.Repeat(`{{printf "%500000d" 1}}`, 3), "", "it makes more than"},
	} {
		got, err := Render("t", tt.text, v)
		if tt.fails == "" && (err != nil || got != tt.want) || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
			t.Errorf("%s: %q, %v", tt.text, got, err)
		}
	}
	if err := Check("t", "{{.Device}}"); err != nil {
		t.Error(err)
	}
}

// A server has no ports, and what the site has none of is empty.
func TestNew(t *testing.T) {
	r := &rack.Rack{Name: "r1", Devices: []rack.Device{{Name: "server-01", Role: rack.Server}}}
	v, err := New(r, "server-01", Life{Ticket: "r1/server-01/2", Image: rack.Image{Digest: digest}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Router != "" || v.Syslog != "" || v.Domain != "" || v.FullName != "server-01" || len(v.Ports)+len(v.DNS) > 0 {
		t.Errorf("%+v", v)
	}
	if _, err := New(r, "nobody", Life{}); err == nil {
		t.Error("a device that is not there")
	}
}

func TestFindReceipt(t *testing.T) {
	r := Receipt{"r1", "tor-1", "RUN", "r1/tor-1/3", digest}
	other := r
	other.Ticket = "r1/tor-1/4"
	for _, tt := range []struct {
		said, fails string
	}{
		{"Linux\n" + r.String() + "\nend", ""},
		{r.String() + "\n" + r.String(), ""},
		{r.String() + "\n" + other.String(), "2 receipts that differ"},
		{"", "no receipt"},
		{"rackreach-receipt: rack=r1", "cannot be read"},
		{strings.Replace(r.String(), "tor-1 ", "tor\x1b1 ", 1), "cannot be read"},
		{strings.Replace(r.String(), "sha256", "md5", 1), "cannot be read"},
	} {
		got, err := FindReceipt(tt.said)
		if tt.fails == "" && (err != nil || got != r) || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
			t.Errorf("%q: %+v, %v", tt.said, got, err)
		}
	}
}

// FuzzFindReceipt: what is found is what was written, whatever a device says around it.
func FuzzFindReceipt(f *testing.F) {
	f.Add("Linux\n", "r1", "tor-1", "r1/tor-1/3")
	f.Add("rackreach-receipt: ", "", "", "")
	f.Fuzz(func(t *testing.T, noise, name, device, ticket string) {
		if _, err := FindReceipt(noise); err == nil && !strings.Contains(noise, receiptMark) {
			t.Fatal("a receipt out of nothing")
		}
		r := Receipt{Rack: name, Device: device, Ticket: ticket, Digest: digest}
		got, err := FindReceipt(r.String())
		if err == nil && got != r {
			t.Fatalf("%+v is read as %+v", r, got)
		}
	})
}
