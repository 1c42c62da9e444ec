//go:build system

package tftp

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// clients are TFTP clients that nobody here wrote. PORT, NAME and FILE stand for what
// is fetched, from where, and where to. curl asks for a third of its patience while it
// connects as time-out (option timeout): 6 s where it is not told.
var clients = []struct {
	name, program, pack string
	args                []string
}{
	{"tftp-hpa", "tftp", "tftp-hpa", []string{"-m", "binary", "127.0.0.1", "PORT", "-c", "get", "NAME", "FILE"}},
	{"atftp", "atftp", "atftp", []string{"--get", "-r", "NAME", "-l", "FILE", "127.0.0.1", "PORT"}},
	{"atftp, options", "atftp", "atftp", []string{"--option", "tsize", "--option", "blksize 1428", "--get", "-r", "NAME", "-l", "FILE", "127.0.0.1", "PORT"}},
	{"atftp, windows", "atftp", "atftp", []string{"--option", "blksize 1428", "--option", "windowsize 16", "--get", "-r", "NAME", "-l", "FILE", "127.0.0.1", "PORT"}},
	{"curl", "curl", "curl", []string{"-sS", "--connect-timeout", "5", "--tftp-blksize", "1428", "-o", "FILE", "tftp://127.0.0.1:PORT/NAME"}},
	{"curl, plain", "curl", "curl", []string{"-sS", "--tftp-no-options", "-o", "FILE", "tftp://127.0.0.1:PORT/NAME"}},
	{"busybox", "busybox", "busybox", []string{"tftp", "-g", "-b", "1428", "-r", "NAME", "-l", "FILE", "127.0.0.1", "PORT"}},
}

// fetch runs a client, and returns what it wrote.
func fetch(t *testing.T, program string, args []string, port int, name string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "got")
	var all []string
	for _, a := range args {
		for _, r := range [][2]string{{"PORT", strconv.Itoa(port)}, {"NAME", name}, {"FILE", file}} {
			a = string(bytes.ReplaceAll([]byte(a), []byte(r[0]), []byte(r[1])))
		}
		all = append(all, a)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, all...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	got, readErr := os.ReadFile(file)
	if err != nil || readErr != nil {
		t.Fatalf("%s %q: %v, %v\n%s", program, all, err, readErr, out)
	}
	return got
}

// TestClients: every client gets every file byte by byte, over a good path and over one
// that loses, doubles and delays packets, those of the handshake too.
func TestClients(t *testing.T) {
	b := newShelf(t, nil)
	files := map[string]int{"empty": 0, "one": 1, "block": 512, "small": 10_000, "loader": 300_001}
	for name, size := range files {
		b.puts(name, size)
	}
	good := int(b.at.Port())
	for i, c := range clients {
		ill := path{seed: uint64(i), first: anything, once: c.program == "atftp"}
		bad := badPath(t, b.at, ill)
		if _, err := exec.LookPath(c.program); err != nil {
			t.Fatalf("%s is not installed: apt-get install %s", c.program, c.pack)
		}
		t.Run(c.name, func(t *testing.T) {
			for name := range files {
				if name == "empty" && c.program == "curl" {
					continue // it writes no file then
				}
				if got := fetch(t, c.program, c.args, good, name); !bytes.Equal(got, b.files[name]) {
					t.Errorf("%s: %d bytes, not the %d of the file", name, len(got), files[name])
				}
			}
		})
		t.Run(c.name+", over a bad path", func(t *testing.T) {
			t.Parallel()
			if got := fetch(t, c.program, c.args, bad, "loader"); !bytes.Equal(got, b.files["loader"]) {
				t.Errorf("%d bytes, not the %d of the file", len(got), files["loader"])
			}
		})
		for what, first := range map[string]int{"lost": comesNot, "twice": comesTwice, "late": comesLate} {
			ill.first = first
			bad := badPath(t, b.at, ill)
			t.Run(c.name+", whose handshake is "+what, func(t *testing.T) {
				t.Parallel()
				if got := fetch(t, c.program, c.args, bad, "small"); !bytes.Equal(got, b.files["small"]) {
					t.Errorf("%d bytes, not the %d of the file", len(got), files["small"])
				}
			})
		}
	}
}

// TestClientsRollOver: more than 65535 blocks, by clients that can.
func TestClientsRollOver(t *testing.T) {
	b := newShelf(t, nil)
	want := b.puts("large", 512*65536+1000)
	for _, c := range clients {
		if c.name == "curl, plain" || c.name == "busybox" || c.name == "tftp-hpa" || c.name == "atftp" {
			t.Run(c.name, func(t *testing.T) {
				args := c.args
				if c.name == "busybox" {
					args = []string{"tftp", "-g", "-r", "NAME", "-l", "FILE", "127.0.0.1", "PORT"}
				}
				if got := fetch(t, c.program, args, int(b.at.Port()), "large"); !bytes.Equal(got, want) {
					t.Errorf("%d bytes, not the %d of the file", len(got), len(want))
				}
			})
		}
	}
}

// TestClientsRefused: a client that asks for what is not there ends, and says so.
func TestClientsRefused(t *testing.T) {
	b := newShelf(t, nil)
	out, err := exec.Command("curl", "-sS", "-o", filepath.Join(t.TempDir(), "x"), "tftp://127.0.0.1:"+strconv.Itoa(int(b.at.Port()))+"/none").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 68 { // file not found on TFTP server
		t.Errorf("%v %s", err, out)
	}
}

// path is how badly a path carries packets. Of every 100, 3 are lost, 3 come twice and 3
// come behind the next.
type path struct {
	seed  uint64
	first int  // what becomes of the first one each way, the handshake
	once  bool // an answer to options comes once at most: atftp 0.8 ends when it gets a second one
}

// Of the numbers up to 100, the first of those for which a packet fares so.
const (
	anything   = -1 // whatever is drawn
	comesNot   = 0
	comesTwice = 3
	comesLate  = 6
	comesWell  = 9
)

// badPath relays between clients and a server, and returns the port that clients ask.
func badPath(t *testing.T, server netip.AddrPort, ill path) int {
	t.Helper()
	open := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	door := open()
	var mu sync.Mutex
	conns := []*net.UDPConn{door}
	var all sync.WaitGroup
	t.Cleanup(func() {
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		known := map[netip.AddrPort]chan []byte{}
		defer func() {
			for _, c := range known {
				close(c)
			}
		}()
		p := make([]byte, 1<<16)
		for n := uint64(0); ; n++ {
			k, client, err := door.ReadFromUDPAddrPort(p)
			if err != nil {
				return
			}
			if known[client] == nil { // a request; what follows comes to a port of its own
				near, far := open(), open()
				mu.Lock()
				conns = append(conns, near, far)
				mu.Unlock()
				requests := make(chan []byte, 100)
				known[client] = requests
				at := &peer{addr: server}
				all.Go(func() { carry(far, near, func() netip.AddrPort { return client }, at, ill.way(2*n)) })
				all.Go(func() { carry(near, far, at.get, nil, ill.way(2*n+1)) })
				all.Go(func() {
					for r := range requests {
						_, _ = far.WriteToUDPAddrPort(r, server)
					}
				})
			}
			known[client] <- bytes.Clone(p[:k])
		}
	})
	return door.LocalAddr().(*net.UDPAddr).Port
}

// peer is where a server answered from.
type peer struct {
	mu   sync.Mutex
	addr netip.AddrPort
}

func (p *peer) get() netip.AddrPort { p.mu.Lock(); defer p.mu.Unlock(); return p.addr }

func (p *peer) set(a netip.AddrPort) { p.mu.Lock(); defer p.mu.Unlock(); p.addr = a }

// answersOptions reports whether a packet is the answer to options.
func answersOptions(p []byte) bool { return len(p) > 1 && p[1] == opOAck }

// repeatsOptions reports whether a packet is the acknowledgement of that answer: without
// it, a server gives the answer again.
func repeatsOptions(p []byte) bool { return len(p) > 3 && p[1] == opAck && p[2] == 0 && p[3] == 0 }

// way is one way of a path.
func (p path) way(n uint64) path { p.seed += n; return p }

// carry carries packets one way until a socket is closed, badly.
func carry(from, to *net.UDPConn, at func() netip.AddrPort, learn *peer, ill path) {
	r := rand.New(rand.NewPCG(ill.seed, 7))
	var held []byte
	p := make([]byte, 1<<16)
	for {
		n, a, err := from.ReadFromUDPAddrPort(p)
		if err != nil {
			return
		}
		if learn != nil {
			learn.set(a)
		}
		times := 1
		x := r.IntN(100)
		if ill.first != anything {
			x, ill.first = ill.first, anything
		}
		if ill.once && (repeatsOptions(p[:n]) || x >= comesTwice && answersOptions(p[:n])) {
			x = comesWell
		}
		switch {
		case x < comesTwice:
			times = 0
		case x < comesLate:
			times = 2
		case x < comesWell && held == nil:
			held = bytes.Clone(p[:n])
			continue
		}
		for range times {
			_, _ = to.WriteToUDPAddrPort(p[:n], at())
		}
		if held != nil {
			_, _ = to.WriteToUDPAddrPort(held, at())
			held = nil
		}
	}
}
