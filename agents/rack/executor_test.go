package rackagent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/deviceapi"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// What a switch hears is one observation a port; where several speak, all are
// named, in one order whatever that of the answer, and not endlessly many.
func TestNeighboursOfASwitch(t *testing.T) {
	rows := []string{`{"port":"49","rack":"r2","device":"inter-rack-2","remotePort":"7"}`, `{"port":"50","rack":"r2","device":"inter-rack-1","remotePort":"8"}`,
		`{"port":"49","rack":"r2","device":"inter-rack-1","remotePort":"7"}`, `{"port":"49","rack":"r2","device":"inter-rack-1","remotePort":"7"}`}
	for n := range 9 {
		rows = append(rows, fmt.Sprintf(`{"port":"51","rack":"r9","device":"d","remotePort":"%d"}`, n))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte("[" + strings.Join(rows, ",") + "]")); err != nil {
			t.Log("the client hung up:", err)
		}
	}))
	defer s.Close()
	r := &rack.Rack{Name: "r1", Devices: []rack.Device{{Name: "tor-1", Role: rack.ToRSwitch, Platform: "sim-tor", Address: netip.MustParseAddr("192.168.100.2")}}}
	x := &executor{shell: &shell{platforms: platform.All()}, rack: r, device: deviceapi.New(func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.Listener.Addr().String())
	})}
	got, err := x.Neighbours(t.Context(), "tor-1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tor-1:49 r2/inter-rack-1:7, r2/inter-rack-2:7", "tor-1:50 r2/inter-rack-1:8", "tor-1:51 r9/d:0, r9/d:1, r9/d:2, r9/d:3, …"}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, o := range got {
		if text := o.Via.String() + " " + o.Message; text != want[i] || o.Source != rack.FromLLDP || o.Device != "tor-1" {
			t.Errorf("got %+v, want %s", o, want[i])
		}
	}
	if _, err := x.Neighbours(t.Context(), "tor-9"); err == nil {
		t.Error("a device that the rack does not have was asked")
	}
}
