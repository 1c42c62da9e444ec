package actors

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
)

// TestARowIsSavedWhole: nothing of it is lost.
func TestARowIsSavedWhole(t *testing.T) {
	port := func(device, name string) rack.Port { return rack.Port{Device: device, Name: name} }
	full := row{status: rack.Halted, cause: "no image", planHash: "aa", bundle: "sha256:ab", signedBy: "us", sums: sums{
		counts: map[DeviceCount]int{{rack.Server, "ready"}: 3, {rack.Server, "uncertain"}: 1, {rack.ToRSwitch, "failed"}: 2}, devices: 6, ready: 3, failed: 2, skipped: 1, progress: 0.1,
		ends: &fleet.Member{Rack: "r2", Links: []rack.Link{{A: port("inter-rack-1", "7"), B: port("rack:r1/tor-1", "49"), Kind: rack.Trunk}}, Ready: map[string]bool{"tor-1": true, "tor-2": false},
			Heard: map[rack.Port]string{port("inter-rack-1", "7"): "r1/tor-1:49", port("tor-1", "x:y"): "r9/b:1"}}}}
	for _, v := range []reflect.Value{reflect.ValueOf(full), reflect.ValueOf(full.sums), reflect.ValueOf(*full.ends)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("this test says nothing of %s", v.Type().Field(i).Name)
			}
		}
	}
	for _, r := range []row{full, {status: rack.Idle, sums: sums{counts: map[DeviceCount]int{}, ends: &fleet.Member{Rack: "r2", Ready: map[string]bool{}, Heard: map[rack.Port]string{}}}}} {
		b, err := json.Marshal(savedRow(&r))
		if err != nil {
			t.Fatal(err)
		}
		var s SavedRow
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		if got := s.row(&Saved{Rack: "r2", Status: r.status}); !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v", r, got)
		}
	}
}
