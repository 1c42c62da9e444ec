//go:build lab

package lab

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// sent is a frame of a made-up recording: who sent it, and when.
type sent struct {
	mac string
	at  time.Time
}

// writePcap makes a recording as QEMU does.
func writePcap(t *testing.T, file string, frames ...sent) string {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(snapLength, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, x := range frames {
		b := make([]byte, 60)
		copy(b, "\xff\xff\xff\xff\xff\xff")
		copy(b[6:], parseMAC(t, x.mac))
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: x.at, CaptureLength: len(b), Length: len(b)}, b); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// The made-up run of these tests: a frame each second.
var madeUp = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(seconds int) time.Time { return madeUp.Add(time.Duration(seconds) * time.Second) }

// TestJudgeSegments: the recordings of a cable become one, in the order of time, and a file
// that is still written is read as far as it goes.
func TestJudgeSegments(t *testing.T) {
	dir := t.TempDir()
	const a, b = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	cut := writePcap(t, filepath.Join(dir, "b-eth0-1.pcap"), sent{a, after(2)}, sent{b, after(4)}, sent{b, after(5)})
	info, err := os.Stat(cut)
	if err == nil {
		err = os.Truncate(cut, info.Size()-7)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "b-eth0-2.pcap"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := cableRecord{"a_eth0--b_eth0", []endFiles{
		{"a:eth0", []string{writePcap(t, filepath.Join(dir, "a-eth0-2.pcap"), sent{a, after(6)}), writePcap(t, filepath.Join(dir, "a-eth0-1.pcap"), sent{a, after(1)}, sent{b, after(3)})}},
		{"b:eth0", []string{cut, filepath.Join(dir, "b-eth0-2.pcap")}},
	}}
	to := filepath.Join(dir, "merged.pcapng")
	if err := c.merge(to); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int
	for i, want := range []int{1, 2, 3, 4, 6} {
		_, info, err := r.ReadPacketData()
		if err != nil || !info.Timestamp.Equal(after(want)) {
			t.Fatalf("frame %d is of %s, %v, want %s", i, info.Timestamp, err, after(want))
		}
		ends = append(ends, info.InterfaceIndex)
	}
	if want := []int{0, 1, 0, 1, 0}; !slices.Equal(ends, want) {
		t.Errorf("the frames are of the ends %v, want %v", ends, want)
	}
	if n, err := readSegment(to); err != nil || n["a:eth0"] != 3 || n["b:eth0"] != 2 {
		t.Errorf("the frames are counted as %v, %v", n, err)
	}
}

// TestJudgeReport: what is missing in a report is told.
func TestJudgeReport(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "segments"), 0o700); err != nil {
		t.Fatal(err)
	}
	devices := []string{"mgmt-1", "server-01"}
	const a, b = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	cable := cableRecord{"mgmt-1_swp1--server-01_eth0", []endFiles{
		{"mgmt-1:swp1", []string{writePcap(t, filepath.Join(dir, "1"), sent{a, after(1)})}}, {"server-01:eth0", []string{writePcap(t, filepath.Join(dir, "2"), sent{b, after(2)})}}}}
	segment := filepath.Join("segments", cable.name+".pcapng")
	if err := cable.merge(filepath.Join(dir, segment)); err != nil {
		t.Fatal(err)
	}
	whole := summary{Seconds: 9, Ready: map[string]float64{"mgmt-1": 3, "server-01": 9}, Steps: map[string][]taking{"mgmt-1": {{"ticket", 2, false}}, "server-01": {{"ticket", 1, false}, {"write", 4, false}}}}
	text := func(s summary) string {
		j, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(j)
	}
	end := func(device, how string) string {
		return fmt.Sprintf(`{"seq":1,"device":%q,"event":"step-%s"}`+"\n", device, how)
	}
	files := map[string]string{
		"status.txt": "rack r4  completed", "verify.txt": "all switches were ready at event 4 (mgmt-1) … server-01", "timeline.txt": "mgmt-1 server-01", "events.txt": "mgmt-1 server-01",
		"events.jsonl": end("mgmt-1", "completed") + end("server-01", "failed") + end("server-01", "completed") + `{"seq":9,"event":"rack-completed"}`, "machines.jsonl": "mgmt-1 server-01", "mgmt-1.console": "LAB nos: up", "server-01.console": "LAB os: up", "summary.json": text(whole),
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		write(name, text)
	}
	agent := []sent{{a, after(1)}, {b, after(1)}, {"02:00:00:00:00:0c", after(2)}}
	writePcap(t, filepath.Join(dir, agentSegment), agent...)
	if err := reportIsWhole(dir, devices, []cableRecord{cable}); err != nil {
		t.Fatalf("the whole report: %v", err)
	}
	bad := func(name, what string) {
		t.Helper()
		if err := reportIsWhole(dir, devices, []cableRecord{cable}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s is bad, and it is said: %v", name, err)
		}
	}
	for name, text := range files {
		write(name, "nothing")
		bad(name, map[bool]string{true: "invalid character", false: name}[name == "summary.json"])
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		bad(name, name)
		write(name, text)
	}
	less := whole
	less.Ready = map[string]float64{"mgmt-1": 3}
	write("summary.json", text(less))
	bad("a device that was not ready", "server-01 was ready after 0 s")
	less = whole
	less.Steps = map[string][]taking{"mgmt-1": whole.Steps["mgmt-1"]}
	write("summary.json", text(less))
	bad("a device without steps", "the 0 steps of server-01")
	less.Steps = map[string][]taking{"mgmt-1": whole.Steps["mgmt-1"], "server-01": whole.Steps["server-01"][:1]}
	write("summary.json", text(less))
	bad("a step is missing", "1 steps of server-01, and the journal has the ends of 2")
	write("summary.json", text(whole))
	writePcap(t, filepath.Join(dir, agentSegment), agent[1:]...)
	bad("the agent's segment", "frames of 2 senders")
	writePcap(t, filepath.Join(dir, agentSegment), agent...)
	write(segment, "nothing")
	bad("a recording", "mgmt-1_swp1--server-01_eth0")
	cable.ends[1].files = nil
	if err := cable.merge(filepath.Join(dir, segment)); err != nil {
		t.Fatal(err)
	}
	bad("a recording of one end", "no frame at server-01:eth0")
}

func parseMAC(t *testing.T, text string) net.HardwareAddr {
	t.Helper()
	mac, err := net.ParseMAC(text)
	if err != nil {
		t.Fatal(err)
	}
	return mac
}
