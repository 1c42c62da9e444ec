package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// frame is a DHCP message on the wire.
func frame(t *testing.T, vlan uint16, from, to layers.UDPPort, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{0, 0, 0, 0}, DstIP: []byte{255, 255, 255, 255}}
	udp := &layers.UDP{SrcPort: from, DstPort: to}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	ethernet := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: bytes.Repeat([]byte{255}, 6), EthernetType: layers.EthernetTypeDot1Q}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		ethernet, &layers.Dot1Q{VLANIdentifier: vlan, Type: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func captureFile(t *testing.T, frames ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func dhcp(t *testing.T, mac byte, class string) []byte {
	t.Helper()
	d, err := dhcpv4.NewDiscovery([]byte{2, 0, 0, 0, 0, mac}, dhcpv4.WithOption(dhcpv4.OptClassIdentifier(class)))
	if err != nil {
		t.Fatal(err)
	}
	return d.ToBytes()
}

func classified(t *testing.T, args ...string) (code int, out, notes string) {
	t.Helper()
	var o, n bytes.Buffer
	code = run(t.Context(), append([]string{"classify"}, args...), &o, &n, func(string) (string, bool) { return "", false })
	return code, o.String(), n.String()
}

// TestSendersOfACapture: what says the same is told once, and what no server would
// read is told too.
func TestSendersOfACapture(t *testing.T) {
	var frames [][]byte
	for range maxNumbers + 1 {
		frames = append(frames, frame(t, 7, 68, 67, dhcp(t, 1, "iDRAC")))
	}
	frames = append(frames, frame(t, 7, 68, 67, dhcp(t, 2, "\x1b[2Jevil")), frame(t, 7, 67, 68, []byte{2}), frame(t, 8, 68, 67, dhcp(t, 1, "iDRAC")))
	for range maxBroken + 2 {
		frames = append(frames, frame(t, 7, 68, 67, make([]byte, 240)), frame(t, 7, 68, 67, append([]byte{1, 1, 6}, make([]byte, 300)...)))
	}
	frames = append(frames, frames[0][:100])
	path := captureFile(t, frames...)
	code, out, notes := classified(t, "--pcap", path)
	if code != 0 || notes != "" {
		t.Fatalf("exit code %d: %s", code, notes)
	}
	for _, want := range []string{
		"packets 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, … (17): DISCOVER of 02:00:00:00:00:01 in VLAN 7\n",
		"packet 18: DISCOVER of 02:00:00:00:00:02 in VLAN 7\n",
		"packet 20: DISCOVER of 02:00:00:00:00:01 in VLAN 8\n",
		"packet 22: no server would read it: ",
		"\n2 more like these\n",
		"\n57 packets: 37 of DHCP clients, 1 of servers, 19 others\n",
		"\n1 of DHCP are cut off: capture with tcpdump -s 0\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("a stranger's bytes reach the terminal")
	}
	code, out, _ = classified(t, "--pcap", path, "-o", "json")
	var got captured
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	if len(got.Senders) != 3 || got.Senders[0].Count != 17 || len(got.Broken) != maxBroken || got.NotShown != 2 || got.Senders[0].Class != "bmc" || got.Senders[2].VLANs[0] != 8 {
		t.Errorf("%+v", got)
	}
}

// TestACaptureThatEndsBadly is explained up to there; the code says that it is not
// whole.
func TestACaptureThatEndsBadly(t *testing.T) {
	path := captureFile(t, frame(t, 7, 68, 67, dhcp(t, 1, "iDRAC")), frame(t, 7, 68, 67, dhcp(t, 1, "iDRAC")))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, notes := classified(t, "--pcap", path)
	if code != 2 || !strings.Contains(out, "vendor  Dell") || !strings.Contains(notes, "packet 2 cannot be read") || !strings.Contains(notes, "capture again") {
		t.Errorf("exit code %d: %s%s", code, out, notes)
	}
}

// TestTooManySenders is said, with what to do.
func TestTooManySenders(t *testing.T) {
	frames := make([][]byte, 0, maxSenders+1)
	for i := range maxSenders + 1 {
		frames = append(frames, frame(t, 7, 68, 67, dhcp(t, byte(i), fmt.Sprintf("iDRA%d", i))))
	}
	code, _, notes := classified(t, "--pcap", captureFile(t, frames...), "-o", "json")
	if code != 2 || !strings.Contains(notes, "more than 10000 senders: look at fewer: tcpdump -r FILE") {
		t.Errorf("exit code %d: %s", code, notes)
	}
}

// FuzzOption: whatever is written, it is an option or a message.
func FuzzOption(f *testing.F) {
	for _, s := range []string{"60=x", "77=0x69505845", "55=1,3,239", "93=7,9", "93=0x07", "=", "0=x", "60", "60=0x", "93="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, value, err := parseOption(s)
		if err == nil && (code == 0 || code == 255 || len(value) > len(s)+2 || (code == 93 && len(value)%2 != 0)) {
			t.Fatalf("option %d: %q", code, value)
		}
	})
}
