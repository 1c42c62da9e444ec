package deviceapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var address = netip.MustParseAddr("192.168.100.2")

// device serves one answer on a real socket and gives a client that reaches it.
func device(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return New(func(ctx context.Context, network, to string) (net.Conn, error) {
		if to != "192.168.100.2:80" {
			return nil, fmt.Errorf("dialled %s", to)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, s.Listener.Addr().String())
	})
}

func TestPush(t *testing.T) {
	config := []byte(`{"device":"tor-1"}`)
	c := device(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPut || r.URL.Path != "/rackreach/config" || string(b) != string(config) {
			t.Errorf("%s %s %q %v", r.Method, r.URL, b, err)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := c.Push(t.Context(), address, config); err != nil {
		t.Error(err)
	}
}

func TestBootInstaller(t *testing.T) {
	holds := Receipt{Run: "ab", Ticket: "r1/tor-1/1"}.Holds()
	if holds != "receipt:ab/r1/tor-1/1" || (Receipt{}).Holds() != "receipt:/" {
		t.Errorf("%q, and without a receipt %q", holds, Receipt{}.Holds())
	}
	c := device(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/rackreach/installer" {
			t.Errorf("%s %s %v", r.Method, r.URL, err)
		}
		if string(b) != `{"holds":"receipt:ab/r1/tor-1/1"}` {
			http.Error(w, "this switch holds something else", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := c.BootInstaller(t.Context(), address, holds); err != nil {
		t.Error(err)
	}
	if err := c.BootInstaller(t.Context(), address, "receipt:/"); err == nil || !strings.Contains(err.Error(), "boot installer: 192.168.100.2 answered 409") || !strings.Contains(err.Error(), "holds something else") {
		t.Errorf("got %v", err)
	}
}

func TestHostileAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"an error is quoted and bounded": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			write(t, w, "\x1b[31mno\n"+strings.Repeat("x", 10_000))
		}, `answered 500: "\x1b[31mno\n`},
		"an endless answer": {func(w http.ResponseWriter, _ *http.Request) { write(t, w, strings.Repeat("[", 300<<10)) }, "more than 262144 bytes"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "answered 302"},
		"what is not JSON":   {func(w http.ResponseWriter, _ *http.Request) { write(t, w, "<html>") }, "invalid character"},
		"too many rows":      {func(w http.ResponseWriter, _ *http.Request) { write(t, w, "["+strings.Repeat("{},", 5000)+"{}]") }, "more than the 4096"},
		"another JSON value": {func(w http.ResponseWriter, _ *http.Request) { write(t, w, `"hello"`) }, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := device(t, c.answer).MACTable(t.Context(), address, "mgmt-1")
			if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func write(t *testing.T, w io.Writer, s string) {
	if _, err := io.WriteString(w, s); err != nil {
		t.Log("the client hung up:", err)
	}
}

func TestADeviceThatHangs(t *testing.T) {
	release := make(chan struct{})
	c := device(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Push(ctx, address, nil); err == nil {
		t.Error("a push that was never answered succeeded")
	}
}

func TestMACTable(t *testing.T) {
	c := device(t, func(w http.ResponseWriter, _ *http.Request) {
		write(t, w, `[{"port":"1","mac":"52-54-00-00-00-0A"},{"port":"","mac":"52:54:00:00:00:0b"},{"port":"3","mac":"nonsense"}]`)
	})
	rows, err := c.MACTable(t.Context(), address, "mgmt-1")
	want := rack.Observation{Source: rack.FromMACTable, MAC: "52:54:00:00:00:0a", Via: rack.Port{Device: "mgmt-1", Name: "1"}}
	if err != nil || len(rows) != 1 || rows[0] != want {
		t.Errorf("%+v %v", rows, err)
	}
}

func TestNeighbours(t *testing.T) {
	c := device(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/rackreach/neighbours" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		write(t, w, `[{"port":"49","rack":"r2","device":"inter-rack-1","remotePort":"7"},{"port":"","device":"x"},{"port":"1"},`+
			`{"port":"50","rack":"\u001b[2J","device":"`+strings.Repeat("d", 100)+`","remotePort":"\n"},{"port":"`+strings.Repeat("5", 65)+`","device":"x"}]`)
	})
	got, err := c.Neighbours(t.Context(), address)
	want := []Neighbour{{"49", "r2", "inter-rack-1", "7"}, {"50", `\x1b[2J`, strings.Repeat("d", 64), `\n`}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	for says, answer := range map[string]string{"more than the 1024": "[" + strings.Repeat("{},", 1024) + "{}]", "cannot unmarshal": `{"a":1}`, "answered more than": strings.Repeat("[", 300<<10)} {
		c := device(t, func(w http.ResponseWriter, _ *http.Request) { write(t, w, answer) })
		if got, err := c.Neighbours(t.Context(), address); err == nil || got != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v %v, want %q", got, err, says)
		}
	}
}

func TestReceipt(t *testing.T) {
	want := Receipt{Rack: "r1", Device: "tor-1", Run: "ab", Ticket: "r1/tor-1/1", Image: "i", Digest: "sha256:01", Config: ConfigDigest([]byte("x"))}
	c := device(t, func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(want); err != nil {
			t.Error(err)
		}
	})
	got, err := c.Receipt(t.Context(), address)
	if err != nil || got != want || got.Check(want) != nil {
		t.Errorf("%+v %v %v", got, err, got.Check(want))
	}
	for field, change := range map[string]func(*Receipt){
		"rack": func(r *Receipt) { r.Rack = "r9" }, "device": func(r *Receipt) { r.Device = "" }, "run": func(r *Receipt) { r.Run = "old" },
		"image digest": func(r *Receipt) { r.Digest = "sha256:02" }, "configuration digest": func(r *Receipt) { r.Config = "" },
	} {
		other := want
		change(&other)
		if err := other.Check(want); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("another %s: %v", field, err)
		}
	}
}

func TestConfigOpensEveryCabledPort(t *testing.T) {
	p := func(d, n string) rack.Port { return rack.Port{Device: d, Name: n} }
	r := &rack.Rack{Name: "r1", Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.1.0/25"), Agent: rack.Agent{Cable: p("mgmt-1", "48")},
		Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Address: netip.MustParseAddr("192.168.100.1")},
			{Name: "tor-1", Role: rack.ToRSwitch, Address: address, Management: p("mgmt-1", "45"), Data: []rack.Port{p("mgmt-1", "43")}},
			{Name: "server-01", Role: rack.Server, Address: netip.MustParseAddr("10.0.1.11"), Management: p("mgmt-1", "1"), Data: []rack.Port{p("tor-1", "1")}},
		},
		Links: []rack.Link{{A: p("tor-1", "53"), B: p("tor-2", "53"), Kind: rack.PeerLink}}}
	for device, want := range map[string]struct {
		address string
		ports   []string
	}{
		"mgmt-1":    {"192.168.100.1/24", []string{"48 agent agent", "45 management tor-1", "43 data tor-1", "1 management server-01"}},
		"tor-1":     {"192.168.100.2/24", []string{"1 data server-01", "53 peer tor-2:53"}},
		"server-01": {"10.0.1.11/25", nil},
	} {
		b, err := NewConfig(r, device, "run", "ticket")
		if err != nil {
			t.Fatal(err)
		}
		var c Config
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range c.Ports {
			got = append(got, x.Name+" "+x.Network+" "+x.Peer)
		}
		if c.Address != want.address || strings.Join(got, ",") != strings.Join(want.ports, ",") {
			t.Errorf("%s: %s %q, want %s %q", device, c.Address, got, want.address, want.ports)
		}
	}
	if _, err := NewConfig(r, "nobody", "", ""); err == nil {
		t.Error("a device that is not there was configured")
	}
}
