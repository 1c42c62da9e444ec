package discovery

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/discovery/capture"
	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// TestRecordedClients reads what real clients said (testdata/clients): every message
// can be read, its class is known, and it comes in the order in which it was said.
func TestRecordedClients(t *testing.T) {
	const system, unknown = rack.StageOS, rack.StageUnknown
	again := "DISCOVER REQUEST REQUEST RELEASE DISCOVER REQUEST"
	for _, x := range []struct {
		file     string
		messages string // REQUESTs of a renewal that come often are told once
		stages   []rack.Stage
	}{
		{"udhcpc", again, []rack.Stage{system}},
		{"dhcpcd", again, []rack.Stage{system}},
		{"dhclient", again, []rack.Stage{unknown}},
		{"udhcpc-relayed", "DISCOVER REQUEST REQUEST", []rack.Stage{system}},
		{"dhcpcd-relayed", "DISCOVER REQUEST REQUEST", []rack.Stage{system}},
		{"dhclient-relayed", "DISCOVER REQUEST REQUEST", []rack.Stage{unknown}},
		{"dhclient-nak", "REQUEST DISCOVER REQUEST", []rack.Stage{unknown}},
		{"dhcpcd-decline", "DISCOVER REQUEST DECLINE", []rack.Stage{system}},
		{"dhcpcd-inform", "INFORM", []rack.Stage{system}},
		{"udhcpc-pool", "DISCOVER REQUEST", []rack.Stage{system}},
		{"before-a-kill", "DISCOVER REQUEST", []rack.Stage{unknown}},
		{"bad-cable", "DISCOVER", []rack.Stage{system}},
		{"bios", "DISCOVER REQUEST", []rack.Stage{rack.StageIPXE}},
		{"uefi-pxe", "DISCOVER REQUEST DISCOVER REQUEST", []rack.Stage{rack.StagePXE, rack.StageIPXE}},
		{"uefi-http", "DISCOVER REQUEST DISCOVER REQUEST", []rack.Stage{rack.StageHTTPBoot, rack.StageIPXE}},
	} {
		t.Run(x.file, func(t *testing.T) {
			var said []string
			var stages []rack.Stage
			recorded(t, x.file, func(payload []byte) {
				look, err := LookAt(payload, classify.Default())
				if err != nil {
					t.Errorf("%v: %x", err, payload)
					return
				}
				if n := len(said); n < 2 || look.Message != "REQUEST" || said[n-1] != "REQUEST" || said[n-2] != "REQUEST" {
					said = append(said, look.Message)
				}
				if look.Message == "DISCOVER" && !slices.Contains(stages, look.Class.Stage) {
					stages = append(stages, look.Class.Stage)
				}
			})
			if got := strings.Join(said, " "); !strings.HasPrefix(got, x.messages) {
				t.Errorf("said %s, want %s …", got, x.messages)
			}
			if x.file != "dhcpcd-inform" && !slices.Equal(stages, x.stages) {
				t.Errorf("seen as %v, want %v", stages, x.stages)
			}
		})
	}
}

// recorded calls f with each message of a client.
func recorded(t *testing.T, name string, f func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "clients", name+".pcap"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := capture.Read(bytes.NewReader(b), func(m capture.Message) error { f(m.Payload); return nil })
	if err != nil || sum.Requests == 0 {
		t.Fatalf("%+v %v", sum, err)
	}
}
