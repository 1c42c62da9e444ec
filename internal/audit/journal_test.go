package audit

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// recorded are the journals in testdata, each of a simulated rack at 200x:
//
//	rackreach demo --state DIR --speed 200 --seed 7 --rack examples/rack-N.yaml --fault …
//	rackreach journal dump DIR | gzip -9n
var recorded = []struct{ name, rack, fault string }{
	{"r1-happy", "rack-1", ""},
	{"r2-happy", "rack-2", ""},
	{"r1-server-fault", "rack-1", "server-02:installation:error:2"},
	{"r1-switch-fault", "rack-1", "tor-1:installation:error"},
	{"r1-switch-retry", "rack-1", "mgmt-1:configuration:error:1"},
	{"r1-panic", "rack-1", "server-03:installation:panic:1"},
	{"r1-switch-panic", "rack-1", "tor-2:installation:panic"},
	{"r1-server-hang", "rack-1", "server-05:installation:hang"},
	{"r1-never-seen", "rack-1", "server-04:discovery:no-dhcp"},
}

// jsonEvent is a line of `rackreach journal dump`, as messages.JSONLine writes it.
type jsonEvent struct {
	Seq    uint64
	Time   time.Time
	Rack   string
	Device string
	Role   rack.Role
	Event  rack.Kind
	Phase  rack.Phase
	Detail struct {
		rack.Detail
		DelaySeconds float64
		Seen         *struct {
			rack.Observation
			Via string
		}
	}
}

// event is the core event of a line. A line does not repeat the slot of an
// observation: it is that of the event.
func (j *jsonEvent) event(t testing.TB) rack.Event {
	e := rack.Event{Seq: j.Seq, Time: j.Time, Rack: j.Rack, Device: j.Device, Role: j.Role, Kind: j.Event, Phase: j.Phase, Detail: j.Detail.Detail}
	e.Detail.Delay = time.Duration(j.Detail.DelaySeconds * float64(time.Second))
	if s := j.Detail.Seen; s != nil {
		o := s.Observation
		o.Device = j.Device
		if s.Via != "" {
			via, err := rack.ParsePort(s.Via)
			if err != nil {
				t.Fatal(err)
			}
			o.Via = via
		}
		e.Detail.Seen = &o
	}
	return e
}

// record reads one of the recorded journals.
func record(t testing.TB, name string) []rack.Event {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var events []rack.Event
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var j jsonEvent
		if err := json.Unmarshal(lines.Bytes(), &j); err != nil {
			t.Fatalf("%s, line %d: %v", name, len(events)+1, err)
		}
		events = append(events, j.event(t))
	}
	if err := lines.Err(); err != nil || len(events) < 50 {
		t.Fatalf("%s: %d events, %v", name, len(events), err)
	}
	return events
}

// example is one of the example racks.
func example(t testing.TB, name string) *rack.Rack {
	t.Helper()
	r, err := rackfile.Read("../../examples/"+name+".yaml", platform.All())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// renumber gives events the sequences of their places.
func renumber(events []rack.Event) []rack.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Seq = uint64(i + 1)
	}
	return out
}

// at is the index of the n-th event (from 1) of a kind; device and step may be empty.
func at(t testing.TB, events []rack.Event, n int, k rack.Kind, device, step string) int {
	t.Helper()
	for i, e := range events {
		if e.Kind == k && (device == "" || e.Device == device) && (step == "" || e.Detail.Step == step) {
			if n--; n == 0 {
				return i
			}
		}
	}
	t.Fatalf("no %s of %q, step %q", k, device, step)
	return 0
}

func joined(lines []string) string { return strings.Join(lines, "\n") }
