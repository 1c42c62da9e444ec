//go:build bench

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// benchRackFile gives every stranger an address of the pool.
const benchRackFile = `apiVersion: rackreach/v1
kind: Rack
name: bench
number: 1
agent: {cable: "mgmt-1:48", interface: eth0}
networks:
  management: {cidr: %s, pool: %s, strangers: true}
  data: {cidr: 10.8.0.0/24}
devices:
  - name: mgmt-1
    role: management-switch
    platform: sim-mgmt
    address: 10.7.1.1
    bmc: {protocol: ipmi, address: 10.7.1.2, credentials: "env:RACK_BMC"}
`

const benchMetrics = "127.0.0.1:9464"

func startOurs(h *host, dir string) *process {
	file := filepath.Join(dir, "rack.yaml")
	h.w.write(file, fmt.Sprintf(benchRackFile, dhcpNet, dhcpFirst+"-"+dhcpLast))
	// What it says of 40,000 strangers goes into a file, as with a service manager.
	said := filepath.Join(dir, "said")
	p := h.start("sh", "-c", `exec "$0" "$@" >`+said+` 2>&1`, h.w.binary, "discover", file, "--state", dir, "--hear", "1s", "--metrics-listen", benchMetrics)
	h.w.until(nsSoon, "ours serves", func() bool {
		text, err := os.ReadFile(said)
		select {
		case <-p.ended:
			h.w.t.Fatalf("ours ended (%v) and said:\n%.2000s", p.err, text)
		default:
		}
		return err == nil && bytes.Contains(text, []byte("is served on"))
	})
	return p
}

// synced is how often ours has made leases durable so far, as its metrics say.
func (b *dhcpBench) synced() int {
	b.t.Helper()
	client := &http.Client{Timeout: nsSoon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (c net.Conn, err error) {
		err = entered(b.server.in, func() (err error) { c, err = net.Dial("tcp4", benchMetrics); return err })
		return c, err
	}}}
	r, err := client.Get("http://" + benchMetrics + "/metrics")
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), `rackreach_dhcp_lease_syncs_total{rack="bench"} `); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.t.Fatal(err)
			}
			return int(n)
		}
	}
	b.t.Fatal("the metrics have no rackreach_dhcp_lease_syncs_total")
	return 0
}

// durable shows, by what the kernel is asked to do, that every ACK leaves after a sync
// of the disk that came after its REQUEST, and that the metric counts those syncs.
// It is no part of the measured runs: strace slows what it watches.
func (b *dhcpBench) durable(p peer) {
	b.t.Helper()
	s := b.begin(p)
	defer b.end(s)
	file := filepath.Join(b.dir, "strace")
	trace := exec.Command("strace", "-f", "-xx", "-s", "600", "-e", "trace=recvmmsg,sendmmsg,fsync,fdatasync", "-o", file, "-p", strconv.Itoa(s.cmd.Process.Pid))
	var said bytes.Buffer
	trace.Stderr = &said
	if err := trace.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.until(nsSoon, "strace watches", func() bool { return traced(s.cmd.Process.Pid) })
	before := b.synced()
	const exchanges = 100
	x, err := b.client.perfdhcp(traffic{server: dhcpServer, clients: b.clients, rate: 50, count: exchanges}, nsSoon)
	counted := b.synced() - before
	if err := trace.Process.Signal(syscall.SIGINT); err != nil {
		b.t.Fatal(err)
	}
	_ = trace.Wait() // it ends as the signal says
	if err != nil {
		b.t.Fatalf("%v\n%s", err, said.Bytes())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	acks, early, syncs := readTrace(string(text))
	fmt.Printf("watched by strace: %d ACKs of %d exchanges, %d of them left without a sync after their REQUEST; %d syncs, the metric says %d\n", acks, x.acks.received, early, syncs, counted)
	if acks < x.acks.received || x.acks.received < exchanges || early > 0 || counted < acks || syncs < counted { // bbolt syncs besides when its file grows
		b.t.Error("leases are not shown to be on the disk before they are acknowledged")
	}
}

// traced reports whether a process is watched by another.
func traced(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "TracerPid:\t0\n")
}

var (
	traceCall   = regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(recvmmsg|sendmmsg|fsync|fdatasync)\b`)
	traceBuffer = regexp.MustCompile(`iov_base="((?:\\x[0-9a-f]{2})+)"`)
	// The cookie, and option 53 in front of all others: how an ACK of ours begins.
	traceACK = []byte{0x63, 0x82, 0x53, 0x63, 53, 1, 5}
)

// readTrace counts, in the order in which the calls were made: ACKs, those of them
// that left without a sync that began after their REQUEST had come in, and syncs.
func readTrace(text string) (acks, early, syncs int) {
	came := map[string]int{}  // by xid, in which line its last message came in
	began := map[string]int{} // by thread, where the sync began that it waits for
	synced := -1              // where the last sync began that has ended
	for at, line := range strings.Split(text, "\n") {
		m := traceCall.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		thread, call := m[1], m[2]
		ended := !strings.HasSuffix(strings.TrimSpace(line), "<unfinished ...>")
		switch {
		case call == "sendmmsg": // begun is enough: it may not be sent earlier
			for xid := range xids(line, func(b []byte) bool { return bytes.HasPrefix(b[236:], traceACK) }) {
				acks++
				if request, ok := came[xid]; !ok || synced < request {
					early++
				}
			}
		case call == "recvmmsg":
			for xid := range xids(line, func(b []byte) bool { return true }) {
				came[xid] = at
			}
		case !ended:
			began[thread] = at
		case strings.HasSuffix(strings.TrimSpace(line), "= 0"):
			if b, ok := began[thread]; ok && strings.Contains(line, "resumed>") {
				synced = max(synced, b)
			} else {
				synced = at
			}
			syncs++
			delete(began, thread)
		}
	}
	return acks, early, syncs
}

// xids are those of the DHCP messages in a line that are wanted.
func xids(line string, wanted func([]byte) bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range traceBuffer.FindAllStringSubmatch(line, -1) {
			b, err := hex.DecodeString(strings.ReplaceAll(m[1], `\x`, ""))
			if err == nil && len(b) > 243 && wanted(b) && !yield(string(b[4:8])) {
				return
			}
		}
	}
}

func TestReadTrace(t *testing.T) {
	const synced = "103 <... fdatasync resumed>)              = 0\n"
	good := "101 recvmmsg(7, [" + tracedMessage(1, 3) + "], 64, MSG_DONTWAIT, NULL) = 1\n" +
		"103 fdatasync(9 <unfinished ...>\n" +
		"102 recvmmsg(7,  <unfinished ...>\n" +
		"102 <... recvmmsg resumed>[" + tracedMessage(2, 1) + ", " + tracedMessage(3, 3) + "], 64, MSG_DONTWAIT, NULL) = 2\n" +
		"102 sendmmsg(7, [" + tracedMessage(2, 2) + "], 1, 0) = 1\n" +
		synced +
		"102 recvmmsg(7, 0x1, 64, MSG_DONTWAIT, NULL) = -1 EAGAIN (Resource temporarily unavailable)\n" +
		"103 sendmmsg(7, [" + tracedMessage(1, 5) + "], 1, 0 <unfinished ...>\n" +
		"103 <... sendmmsg resumed>) = 1\n" +
		"103 fdatasync(9)                     = 0\n" +
		"103 sendmmsg(7, [" + tracedMessage(3, 5) + "], 1, 0) = 1\n"
	for name, x := range map[string]struct {
		trace               string
		acks, early, synced int
	}{
		"good":                   {good, 2, 0, 2},
		"a sync has not ended":   {strings.Replace(good, synced, "", 1), 2, 1, 1},
		"a sync began too early": {strings.Replace(good, "103 fdatasync(9)                     = 0\n", "", 1), 2, 1, 1},
		"nobody asked":           {"103 fdatasync(9) = 0\n103 sendmmsg(7, [" + tracedMessage(3, 5) + "], 1, 0) = 1\n", 1, 1, 1},
	} {
		if acks, early, syncs := readTrace(x.trace); acks != x.acks || early != x.early || syncs != x.synced {
			t.Errorf("%s: %d ACKs, %d early, %d syncs", name, acks, early, syncs)
		}
	}
}

// tracedMessage is a DHCP message as strace prints it.
func tracedMessage(xid, kind byte) string {
	b := make([]byte, 300)
	b[7] = xid
	copy(b[236:], []byte{0x63, 0x82, 0x53, 0x63, 53, 1, kind})
	var hexed strings.Builder
	for _, x := range b {
		fmt.Fprintf(&hexed, `\x%02x`, x)
	}
	return `{msg_hdr={msg_name=0x1, msg_iov=[{iov_base="` + hexed.String() + `", iov_len=4097}]}, msg_len=300}`
}
