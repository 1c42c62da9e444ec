package messages

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
)

func full() rack.Event {
	return rack.Event{Seq: 17, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Rack: "r2", Device: "tor-1", Role: rack.ToRSwitch, Kind: rack.StepFailed, Phase: rack.Installation,
		Detail: rack.Detail{Step: "install", Attempt: 2, Error: "e", Next: "n", Reason: "r", Final: true, Delay: 1500 * time.Millisecond, Link: "mgmt-1:45", Path: "mgmt-1",
			Ticket: "r2/tor-1/1", Image: "i", Digest: "sha256:00", PlanHash: "h", Ready: 3, Failed: 4, By: "ada", Overwrites: "foreign:ext4", Only: []string{"tor-1"}, Run: "x7", Writing: true, Order: "o1", Bundle: "2026.3@sha256:00", SignedBy: "0123456789abcdef", Recovery: rack.PowerCycled, Found: `{"bmc":{}}`,
			Seen: &rack.Observation{Source: rack.FromDHCP, Device: "tor-1", MAC: "52:54:00:00:00:01", UUID: "aa", Via: rack.Port{Device: "mgmt-1", Name: "45"}, Stage: rack.StageONIE,
				Vendor: "v", Model: "m", Serial: "s", Address: "192.168.100.2", Proves: rack.DHCPONIE, Message: "words", Holds: "foreign:ext4"}}}
}

// TestNothingIsLost sends an event with every field set through the wire format.
// A field that is added to the core and forgotten here is found by reflection.
func TestNothingIsLost(t *testing.T) {
	e := full()
	for _, v := range []any{e, e.Detail, *e.Detail.Seen} {
		for i := range reflect.ValueOf(v).NumField() {
			if reflect.ValueOf(v).Field(i).IsZero() {
				t.Fatalf("%T.%s is not set in this test", v, reflect.TypeOf(v).Field(i).Name)
			}
		}
	}
	wire, err := proto.Marshal(FromEvent(e))
	if err != nil {
		t.Fatal(err)
	}
	var m Event
	if err := proto.Unmarshal(wire, &m); err != nil {
		t.Fatal(err)
	}
	got, err := ToEvent(&m)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, e)
	}
}

func TestRandomEventsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := rack.Event{Seq: rapid.Uint64().Draw(t, "seq"), Time: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0).UTC(), Rack: rapid.StringN(0, 20, -1).Draw(t, "rack"),
			Role: rapid.SampledFrom(append(rack.Roles(), "")).Draw(t, "role"), Kind: rack.Observed,
			Detail: rack.Detail{Error: rapid.String().Draw(t, "error"), Attempt: rapid.IntRange(0, 1000).Draw(t, "attempt")}}
		got, err := ToEvent(FromEvent(e))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%v: got %+v want %+v", err, got, e)
		}
		if line, err := JSONLine(e); err != nil || !json.Valid(line) {
			t.Fatalf("%q %v", line, err)
		}
	})
}

func TestRefusals(t *testing.T) {
	if _, err := ToEvent(&Event{Seq: 1, Role: "toaster"}); err == nil {
		t.Error("a role that is none was taken")
	}
	if _, err := ToEvent(&Event{Seq: 1, Detail: &EventDetail{Seen: &Observation{Via: "nowhere"}}}); err == nil {
		t.Error("a port that is none was taken")
	}
}

func TestJSONLine(t *testing.T) {
	e := full()
	e.Kind, e.Detail = rack.PhaseCompleted, rack.Detail{}
	got, err := JSONLine(e)
	want := `{"seq":17,"time":"2026-01-02T03:04:05.000000006Z","rack":"r2","device":"tor-1","role":"tor-switch","event":"phase-completed","phase":"installation","detail":{}}`
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	e.Detail = rack.Detail{Recovery: rack.PowerCut, Found: `{"bmc":{"firmware":"2.15"}}`}
	if got, err = JSONLine(e); err != nil || !strings.HasSuffix(string(got), `"detail":{"recovery":"power-cut","found":{"bmc":{"firmware":"2.15"}}}}`) {
		t.Errorf("%v\ngot %s", err, got)
	}
	e.Detail = rack.Detail{Found: `{"bmc":`} // a stranger's
	if got, err = JSONLine(e); err != nil || !strings.HasSuffix(string(got), `"detail":{}}`) {
		t.Errorf("%v\ngot %s", err, got)
	}
	if n := reflect.TypeFor[lineDetail]().NumField(); n != reflect.TypeFor[rack.Detail]().NumField() {
		t.Errorf("a line has %d details, the core %d", n, reflect.TypeFor[rack.Detail]().NumField())
	}
}
