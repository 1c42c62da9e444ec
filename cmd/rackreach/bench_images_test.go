//go:build bench

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/boot"
)

// The bench of what devices fetch: our boot services and nginx over HTTP, ours, atftpd,
// tftpd-hpa and dnsmasq over TFTP, each in a network namespace, with the same client at
// the other end of a cable; and ours with a rack of clients, on links of 1 Gb/s
// (bench_fanout_test.go). All of it shares the cores of one machine: trust the ratios of
// paired runs. See "make bench-images"; a part of it alone is TestImagesBench/http,
// TestImagesBench/tftp and TestImagesBench/fan-out.
//
//	IMAGES_ROUNDS  paired rounds, default 7
//	IMAGES_MIB     what one measurement of HTTP carries, default 1024; one client alone
//	               fetches four times that, since its CPU is few ticks of the clock
//	IMAGES_HPA     path of in.tftpd of tftpd-hpa; default: apt-get download fetches the
//	               package, since Debian does not install it beside atftpd; "none": without

const (
	imagesServer = "10.9.0.1"
	imagesClient = "10.9.0.2"
	imageMiB     = 64 // of the file that many clients fetch
	loaderMiB    = 20
	loaderTimes  = 3 // fetched by one measurement of TFTP
)

// Goals of the bench (issue of images).
const (
	goalHTTP    = 0.95 // of nginx's throughput, at least
	goalHTTPCPU = 1.1  // of its CPU for a GB, at most
	goalTFTP    = 1.1  // of atftpd's time, at most
	goalFanOut  = 1.1  // of what the formula says, at most
)

type imagesBench struct {
	*world
	server, client *host
	files          string // folder with image and ipxe.efi
	hpa            string // in.tftpd of tftpd-hpa; empty: it is left out
	mib            int
	ticket         int // the next one that was not used
	tickets        int
}

// fetched is one measurement.
type fetched struct {
	bytes int64
	took  time.Duration
	cpu   time.Duration // of the server
}

func (f fetched) rate() float64  { return float64(f.bytes) / f.took.Seconds() / 1e9 }
func (f fetched) perGB() float64 { return f.cpu.Seconds() / (float64(f.bytes) / 1e9) }

func TestImagesBench(t *testing.T) {
	for _, n := range []struct{ program, debian string }{{"ip", "iproute2"}, {"nginx", "nginx"}, {"atftpd", "atftpd"}, {"dnsmasq", "dnsmasq-base"}, {"atftp", "atftp"}} {
		needs(t, n.program, n.debian)
	}
	number := func(name, other string) int {
		n, err := strconv.Atoi(envOr(name, other))
		if err != nil || n < 1 {
			t.Fatalf("%s must be a number above 0: %v", name, err)
		}
		return n
	}
	b := &imagesBench{world: emptyWorld(t), mib: number("IMAGES_MIB", "1024")}
	rounds := number("IMAGES_ROUNDS", "7")
	b.tickets = oneClient * (b.mib/imageMiB + 1)
	b.server, b.client = b.machine("s"), b.machine("c")
	b.cable(b.server, imagesServer+"/24", b.client, imagesClient+"/24")
	b.build(filepath.Join(b.dir, "bootserver"), "./testdata/bootserver")
	b.hpa = b.tftpdHPA()
	b.files = filepath.Join(b.dir, "files")
	if err := os.Mkdir(b.files, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mib := range map[string]int{"image": imageMiB, "ipxe.efi": loaderMiB} {
		if err := os.WriteFile(filepath.Join(b.files, name), make([]byte, mib<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // other servers give up root
		t.Fatal(err)
	}
	var results []string
	result := func(name string, x float64, met bool) {
		results = append(results, fmt.Sprintf("RESULT %s %.2f", name, x))
		if !met {
			fmt.Printf("MISSED: the goal of %s\n", name)
		}
	}
	part := func(name string, f func()) {
		t.Run(name, func(t *testing.T) {
			defer func(whole *testing.T) { b.t = whole }(b.t)
			b.t = t
			f()
		})
	}
	part("http", func() {
		web := b.http(rounds)
		result("http_ratio_nginx", web[0], web[0] >= goalHTTP)
		result("http_cpu_ratio_nginx", web[1], web[1] <= goalHTTPCPU)
	})
	part("tftp", func() {
		x := b.tftp(rounds)
		result("tftp_time_ratio_atftpd", x, x <= goalTFTP)
	})
	part("fan-out", func() {
		x := b.fanOut()
		result("fanout_ratio_formula", x, x <= goalFanOut)
	})
	fmt.Println(strings.Join(results, "\n"))
}

// oneClient is how many times the bytes of a measurement one client alone fetches.
const oneClient = 4

// http compares with nginx: the ratios of throughput and of CPU, the worse of many
// clients and of one.
func (b *imagesBench) http(rounds int) (out [2]float64) {
	b.t.Helper()
	names := []string{"ours", "nginx"}
	start := map[string]func() *process{"ours": b.startOurs, "nginx": b.startNginx}
	for k, clients := range []int{16, 1} {
		mib := b.mib
		if clients == 1 {
			mib *= oneClient
		}
		all := map[string][]fetched{}
		for i := range rounds {
			for j := range names {
				name := names[(i+j)%len(names)]
				s := start[name]()
				x := b.fetchHTTP(s, name, clients, mib)
				all[name] = append(all[name], x)
				b.stop(s)
				fmt.Printf("round %d, %2d clients %-6s %.2f GB/s, %.3f CPU s/GB\n", i+1, clients, name, x.rate(), x.perGB())
			}
		}
		var rate, cpu []float64
		for i, x := range all["ours"] {
			rate = append(rate, x.rate()/all["nginx"][i].rate())
			cpu = append(cpu, x.perGB()/all["nginx"][i].perGB())
		}
		fmt.Printf("%d clients, medians of %d pairs: ours to nginx %.2f of its throughput at %.2f of its CPU\n", clients, rounds, median(rate), median(cpu))
		if k == 0 || median(rate) < out[0] {
			out[0] = median(rate)
		}
		out[1] = max(out[1], median(cpu))
	}
	return out
}

// tftp compares with atftpd: the ratio of times with windows. The others are shown.
func (b *imagesBench) tftp(rounds int) (out float64) {
	b.t.Helper()
	type peer struct {
		name  string
		start func() *process
	}
	peers := []peer{{"ours", b.startOurs}, {"atftpd", b.startAtftpd}, {"dnsmasq", b.startDnsmasqTFTP}}
	if b.hpa != "" {
		peers = append(peers, peer{"tftpd-hpa", b.startTftpdHPA})
	}
	for _, window := range []int{16, 1} {
		all := map[string][]float64{}
		for i := range rounds {
			for j := range peers {
				p := peers[(i+j)%len(peers)]
				s := p.start()
				x := b.fetchTFTP(s, p.name, window)
				b.stop(s)
				all[p.name] = append(all[p.name], x.took.Seconds())
				fmt.Printf("round %d, window %2d %-9s %.2f s for %d x %d MiB, %.2f CPU s\n", i+1, window, p.name, x.took.Seconds(), loaderTimes, loaderMiB, x.cpu.Seconds())
			}
		}
		for _, p := range peers[1:] {
			var r []float64
			for i, x := range all["ours"] {
				r = append(r, x/all[p.name][i])
			}
			fmt.Printf("window %d: ours %.2f of the time of %s (median of %d pairs)\n", window, median(r), p.name, rounds)
			if window == 16 && p.name == "atftpd" {
				out = median(r)
			}
		}
	}
	return out
}

// path is where a server has a file.
func (b *imagesBench) path(server, file string) string {
	if server != "ours" {
		return file
	}
	token := boot.Token([]byte("bench"), strconv.Itoa(b.ticket))
	if file == "image" {
		b.ticket++ // one ticket, one delivery
		return "image/" + token
	}
	return token + "/" + file
}

// fetchHTTP fetches the image over and over until the measurement's bytes have come.
func (b *imagesBench) fetchHTTP(s *process, name string, clients, mib int) fetched {
	b.t.Helper()
	times := mib / imageMiB
	b.ticket = 0 // of a new process
	paths := make(chan string, times)
	for range times {
		paths <- b.path(name, "image")
	}
	close(paths)
	var all sync.WaitGroup
	errs := make(chan error, clients)
	began, before := time.Now(), b.cpuOf(s)
	for range clients {
		all.Go(func() {
			for path := range paths {
				if err := get(b.client, imagesServer, path); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	close(errs)
	if err := <-errs; err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	return fetched{int64(times) * imageMiB << 20, took, b.cpuOf(s) - before}
}

// get fetches one image over a connection of its own.
func get(client *host, server, path string) error {
	var c net.Conn
	if err := entered(client.in, func() (err error) { c, err = net.Dial("tcp4", server+":80"); return err }); err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(c, 256<<10), nil)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r.Body}, make([]byte, 256<<10))
	if err == nil && (r.StatusCode != 200 || n != imageMiB<<20) {
		err = fmt.Errorf("%s: %d with %d bytes", path, r.StatusCode, n)
	}
	return err
}

// fetchTFTP fetches the loader a few times, one after the other.
func (b *imagesBench) fetchTFTP(s *process, name string, window int) fetched {
	b.t.Helper()
	b.ticket = 0
	args := []string{"--option", "blksize 1428", "--option", "windowsize " + strconv.Itoa(window), "--get", "-r", b.path(name, "ipxe.efi"), "-l", filepath.Join(b.dir, "got"), imagesServer, "69"}
	began, before := time.Now(), b.cpuOf(s)
	for range loaderTimes {
		if out, err := b.client.command(b.t.Context(), "atftp", args...).CombinedOutput(); err != nil {
			b.t.Fatalf("atftp from %s: %v\n%s", name, err, out)
		}
	}
	took := time.Since(began)
	if i, err := os.Stat(filepath.Join(b.dir, "got")); err != nil || i.Size() != loaderMiB<<20 {
		b.t.Fatalf("%s: %v, %v", name, i, err)
	}
	return fetched{loaderTimes * loaderMiB << 20, took, b.cpuOf(s) - before}
}

func (b *imagesBench) startOurs() *process { return b.ours(b.server, imagesServer) }

func (b *imagesBench) ours(on *host, address string) *process {
	p := on.start(filepath.Join(b.dir, "bootserver"), address, filepath.Join(b.files, "image"), b.files, strconv.Itoa(b.tickets))
	p.says("serving")
	return p
}

// nginxConfig is as Debian ships it, without a log of every request.
const nginxConfig = `user root; daemon off; worker_processes auto; pid %[1]s/nginx.pid; error_log stderr;
events { worker_connections 768; }
http { sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;
  server { listen %[2]s:80; root %[3]s; } }
`

func (b *imagesBench) startNginx() *process {
	file := filepath.Join(b.dir, "nginx.conf")
	b.write(file, fmt.Sprintf(nginxConfig, b.dir, imagesServer, b.files))
	p := b.server.start("nginx", "-p", b.dir, "-c", file)
	b.until(nsSoon, "nginx listens", func() bool { return b.answers() })
	return p
}

func (b *imagesBench) answers() bool {
	return entered(b.client.in, func() error {
		c, err := net.DialTimeout("tcp4", imagesServer+":80", time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	}) == nil
}

func (b *imagesBench) startAtftpd() *process {
	return b.tftpd(b.server.start("atftpd", "--daemon", "--no-fork", "--user", "root.root", "--port", "69", "--bind-address", imagesServer, b.files))
}

// tftpdHPA is where in.tftpd of tftpd-hpa is: unpacked, and not installed, so that no
// service is begun.
func (b *imagesBench) tftpdHPA() string {
	b.t.Helper()
	switch given := os.Getenv("IMAGES_HPA"); given {
	case "":
	case "none":
		return ""
	default:
		return given
	}
	dir := b.t.TempDir()
	fetch := exec.Command("apt-get", "-o", "APT::Sandbox::User=root", "download", "tftpd-hpa")
	fetch.Dir = dir
	if out, err := fetch.CombinedOutput(); err != nil {
		b.t.Fatalf("apt-get download tftpd-hpa: %v: IMAGES_HPA names in.tftpd, or none to leave it out\n%s", err, out)
	}
	packs, err := filepath.Glob(filepath.Join(dir, "tftpd-hpa_*.deb"))
	if err != nil || len(packs) != 1 {
		b.t.Fatalf("%q, %v", packs, err)
	}
	if out, err := exec.Command("dpkg", "-x", packs[0], dir).CombinedOutput(); err != nil {
		b.t.Fatalf("unpack %s: %v\n%s", packs[0], err, out)
	}
	return filepath.Join(dir, "usr", "sbin", "in.tftpd")
}

func (b *imagesBench) startTftpdHPA() *process {
	return b.tftpd(b.server.start(b.hpa, "--foreground", "--user", "root", "--address", imagesServer+":69", "--secure", b.files))
}

func (b *imagesBench) startDnsmasqTFTP() *process {
	return b.tftpd(b.server.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--user=root", "--pid-file=", "--enable-tftp", "--tftp-root="+b.files))
}

// tftpd waits until somebody has port 69.
func (b *imagesBench) tftpd(p *process) *process {
	b.t.Helper()
	b.until(nsSoon, p.what+" listens", func() bool {
		open, err := b.server.command(b.t.Context(), "cat", "/proc/net/udp").Output()
		return err == nil && strings.Contains(string(open), ":0045 ")
	})
	return p
}

func (b *imagesBench) stop(s *process) {
	b.t.Helper()
	s.signal(syscall.SIGTERM)
	late := time.AfterFunc(nsSoon, func() { s.signal(os.Kill) })
	defer late.Stop()
	<-s.ended
	b.clear(s.h.in) // children of it
	time.Sleep(settle)
}

// cpuOf is the CPU time so far of everything that runs on the server's host.
func (b *imagesBench) cpuOf(s *process) (sum time.Duration) {
	b.t.Helper()
	pids := strings.Fields(b.ip("netns", "pids", s.h.in))
	slices.Sort(pids)
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			b.t.Fatalf("%s: %v; it said:\n%s", s.what, err, s.out.String())
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(rest)
		for _, v := range f[11:13] { // utime and stime
			n, err := strconv.Atoi(v)
			if err != nil {
				b.t.Fatal(err)
			}
			sum += time.Duration(n) * perTick
		}
	}
	return sum
}
