//go:build bench

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The DHCP bench: Kea, dnsmasq, ours and a responder that does nothing, each in a
// network namespace of its own life, under perfdhcp at the other end of a cable. All
// of it shares the cores of one machine: trust the ratios of paired runs. See "make
// bench-dhcp".
//
//	DHCP_ROUNDS   paired rounds, default 5
//	DHCP_CLIENTS  clients behind the relay, default 40000
//	DHCP_SECONDS  how long one rate is tried, default 3
//	DHCP_PROBES   rates tried for one server in one round at most, default 6
//	DHCP_EQUAL    DORA/s of the comparison at one rate, default 1500
//	DHCP_PEERS    default "ours kea dnsmasq null"
//	DHCP_OTHERS   how many % of the machine others may use during a measurement, default 10
//	DHCP_WAIT     seconds that it may wait, all told, for others to leave the machine alone, default 0

const (
	mostLost       = 0.01 // of the packets, at a rate that counts
	closeEnough    = 1.04 // between a rate that went and one that did not, the search ends
	avalancheLimit = 4 * time.Minute
	avalancheAgain = 30 * time.Second // one that takes longer is not made once more
)

// dhcpBench is a cable with a host at either end.
type dhcpBench struct {
	*world
	server, client *host
	clients        int
	seconds        time.Duration
	probes, equal  int
	best           map[string]int // DORA/s of the last search, by peer
	others         float64        // share of the machine that others may use
	wait           time.Duration  // that is left to wait for them
	spoiled        int            // measurements that were made once more
}

// probed is one rate that was tried.
type probed struct {
	asked int
	loaded
	cpu   time.Duration // of the server, for one completed DORA
	syncs int           // of the disk, by ours
}

// round is what one round found of one server.
type round struct {
	best, equal probed
	avalanche   time.Duration // zero: not tried
	failed      error         // of the avalanche
}

func TestDHCPBench(t *testing.T) {
	for _, n := range []struct{ program, debian string }{
		{"ip", "iproute2"}, {"perfdhcp", "kea-admin"}, {"kea-dhcp4", "kea-dhcp4-server"}, {"dnsmasq", "dnsmasq-base"}, {"strace", "strace"},
	} {
		needs(t, n.program, n.debian)
	}
	b := newDHCPBench(t)
	b.conditions()
	all, names := peers(), strings.Fields(envOr("DHCP_PEERS", "ours kea dnsmasq null"))
	rounds := map[string][]round{}
	for i := range b.number("DHCP_ROUNDS", "5") {
		for k := range names { // in turns: each comes first, second, … in one of the rounds
			p, ok := all[names[(i+k)%len(names)]]
			if !ok {
				t.Fatalf("DHCP_PEERS: there is no %q", names[(i+k)%len(names)])
			}
			r := b.round(p)
			rounds[p.name] = append(rounds[p.name], r)
			fmt.Printf("round %d %-8s %s\n", i+1, p.name, r)
		}
	}
	if slices.Contains(names, "ours") {
		b.durable(all["ours"])
	}
	fmt.Printf("%d measurements were made once more, since others used the machine\n", b.spoiled)
	b.results(rounds)
}

func newDHCPBench(t *testing.T) *dhcpBench {
	b := &dhcpBench{world: newWorld(t), best: map[string]int{}}
	b.server, b.client = b.machine("s"), b.machine("c")
	b.cable(b.server, dhcpServer+"/16", b.client, dhcpRelay+"/16")
	b.build(filepath.Join(b.dir, "nullresponder"), "./testdata/nullresponder")
	b.clients, b.probes, b.equal = b.number("DHCP_CLIENTS", "40000"), b.number("DHCP_PROBES", "6"), b.number("DHCP_EQUAL", "1500")
	b.seconds = time.Duration(b.number("DHCP_SECONDS", "3")) * time.Second
	b.others = float64(b.number("DHCP_OTHERS", "10")) / 100
	if os.Getenv("DHCP_WAIT") != "" {
		b.wait = time.Duration(b.number("DHCP_WAIT", "")) * time.Second
	}
	return b
}

func (b *dhcpBench) number(name, other string) int {
	b.t.Helper()
	n, err := strconv.Atoi(envOr(name, other))
	if err != nil || n < 1 {
		b.t.Fatalf("%s must be a number above 0: %v", name, err)
	}
	return n
}

// cable joins two hosts, each with an eth0 and an address.
func (w *world) cable(a *host, addressA string, b *host, addressB string) {
	w.t.Helper()
	w.ip("-n", a.in, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.in)
	for h, address := range map[*host]string{a: addressA, b: addressB} {
		w.ip("-n", h.in, "addr", "add", address, "dev", "eth0")
		w.ip("-n", h.in, "link", "set", "eth0", "up")
	}
}

// conditions prints what the figures rest on: cores, and the disk that fsyncs go to.
func (b *dhcpBench) conditions() {
	b.t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.dir, &fs); err != nil {
		b.t.Fatal(err)
	}
	const tmpfs = 0x01021994
	if fs.Type == tmpfs {
		b.t.Fatalf("%s is in memory, where an fsync costs nothing: set TMPDIR to a folder on a disk", b.dir)
	}
	f, err := os.Create(filepath.Join(b.dir, "fsync"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var took []time.Duration
	for range 50 {
		began := time.Now()
		if _, err = f.WriteString(strings.Repeat("x", 4096)); err == nil {
			err = f.Sync()
		}
		if err != nil {
			b.t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	fmt.Printf("%d clients, %s a rate, at most %d rates a search; an fsync of 4 KiB takes %s here (median of 50)\n", b.clients, b.seconds, b.probes, median(took))
}

// round tries one server: its highest rate and a common rate with one life, an
// avalanche with another, each with a fresh state.
func (b *dhcpBench) round(p peer) (r round) {
	b.t.Helper()
	s := b.begin(p)
	r.best = b.search(s, p)
	r.equal = b.probe(s, p, b.equal)
	b.end(s)
	if p.name == "dnsmasq" {
		return r // it would take the rest of the day
	}
	b.avalanche(p, &r)
	return r
}

// avalanche lets all clients ask at once, each time with a fresh state.
func (b *dhcpBench) avalanche(p peer, r *round) {
	b.t.Helper()
	var s *process
	for again := range againAtMost {
		b.quiet(nil)
		s = b.begin(p)
		began, before := time.Now(), b.used(s)
		x, err := b.client.perfdhcp(traffic{server: dhcpServer, clients: b.clients}, avalancheLimit)
		r.avalanche, r.failed = time.Since(began), nil
		if err != nil || x.acks.received < b.clients {
			r.failed = errors.Join(fmt.Errorf("avalanche: %d of %d clients got an address", x.acks.received, b.clients), err)
		}
		others := b.used(s).others(before, r.avalanche)
		b.end(s)
		if others <= b.others {
			return
		}
		b.spoiled++
		b.t.Logf("avalanche %d of %s: %s, others used %.0f %% of the machine", again+1, p.name, r.avalanche, 100*others)
		if r.avalanche > avalancheAgain {
			break // it is too long to hope for quiet
		}
	}
	fmt.Printf("spoiled: others used the machine during the avalanche of %s\n", p.name)
}

func (b *dhcpBench) begin(p peer) *process {
	b.t.Helper()
	dir, err := os.MkdirTemp(b.dir, p.name)
	if err != nil {
		b.t.Fatal(err)
	}
	s := p.start(b.server, dir)
	time.Sleep(settle)
	return s
}

func (b *dhcpBench) end(s *process) {
	b.t.Helper()
	s.signal(syscall.SIGTERM)
	late := time.AfterFunc(nsSoon, func() { s.signal(os.Kill) })
	defer late.Stop()
	<-s.ended
	time.Sleep(settle)
}

// search looks for the highest rate at which less than 1 % of the packets are lost:
// up or down by a third, then by halves. A rate that did not go is tried once more,
// since one pause of the machine is enough to lose 1 % of three seconds.
func (b *dhcpBench) search(s *process, p peer) (best probed) {
	b.t.Helper()
	rate := b.best[p.name]
	if rate == 0 {
		rate = p.guess
	}
	var low, high int // went; went not
	for range b.probes {
		x := b.probe(s, p, rate)
		if x.lost() >= mostLost {
			x = b.probe(s, p, rate)
		}
		if x.lost() < mostLost {
			low = max(low, rate)
			if x.dora() > best.dora() {
				best = x
			}
		} else if high == 0 || rate < high {
			high = rate
		}
		switch {
		case low == 0:
			rate = high * 2 / 3
		case high == 0:
			rate = low * 4 / 3
		case float64(high) < float64(low)*closeEnough:
			b.best[p.name] = low
			return best
		default:
			rate = (low + high) / 2
		}
		if rate < 10 {
			break
		}
	}
	b.best[p.name] = max(low, 10)
	return best
}

// probe tries one rate.
func (b *dhcpBench) probe(s *process, p peer, rate int) (out probed) {
	b.t.Helper()
	b.undisturbed(s, fmt.Sprintf("%d/s of %s", rate, p.name), func() { out = b.once(s, p, rate) })
	if testing.Verbose() {
		b.t.Logf("%-8s %s", p.name, out)
	}
	return out
}

func (b *dhcpBench) once(s *process, p peer, rate int) probed {
	b.t.Helper()
	ours, syncs := p.name == "ours", 0
	if ours {
		syncs = b.synced()
	}
	before := b.cpu(s)
	x, err := b.client.perfdhcp(traffic{server: dhcpServer, clients: b.clients, rate: rate, lasts: b.seconds}, b.seconds+nsSoon)
	if err != nil {
		b.t.Fatal(err)
	}
	out := probed{asked: rate, loaded: x}
	if n := x.acks.received; n > 0 {
		out.cpu = (b.cpu(s) - before) / time.Duration(n)
	}
	if ours {
		out.syncs = b.synced() - syncs
	}
	return out
}

// perTick is what /proc counts in: USER_HZ is 100 on every machine that Go runs on.
const perTick = 10 * time.Millisecond

// cpu is the CPU time of a process so far, all threads, by /proc/PID/stat.
func (b *dhcpBench) cpu(s *process) time.Duration {
	b.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.t.Fatalf("%s: %v; it said:\n%s", s.what, err, s.out.String())
	}
	_, rest, ok := strings.Cut(string(stat), ") ") // the name of the program may hold anything
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		b.t.Fatalf("/proc/PID/stat reads %q", stat)
	}
	var sum time.Duration
	for _, v := range f[11:13] { // utime and stime
		n, err := strconv.Atoi(v)
		if err != nil {
			b.t.Fatal(err)
		}
		sum += time.Duration(n) * perTick
	}
	return sum
}

func (p probed) String() string {
	out := fmt.Sprintf("%5.0f DORA/s of %5d asked, lost %5.2f %%, CPU %4d µs/DORA, p99 OFFER %s ACK %s",
		p.dora(), p.asked, 100*p.lost(), p.cpu.Microseconds(), p.offers.p99(), p.acks.p99())
	if p.syncs > 0 {
		out += fmt.Sprintf(", %d syncs for %d leases", p.syncs, p.acks.received)
	}
	return out
}

func (r round) String() string {
	out := fmt.Sprintf("best %s | equal %s", r.best, r.equal)
	switch {
	case r.failed != nil:
		out += fmt.Sprintf(" | avalanche %.1f s, and then: %v", r.avalanche.Seconds(), r.failed)
	case r.avalanche > 0:
		out += fmt.Sprintf(" | avalanche %.1f s", r.avalanche.Seconds())
	}
	return out
}

func median[T interface{ ~int64 | ~float64 }](v []T) T {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
