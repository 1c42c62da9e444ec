//go:build bench

package power

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
)

// The bench of BMCs: the power state of 100 of them, asked by us, by FreeIPMI's
// ipmipower, and by ipmitool under xargs, in turns, cold: with a login each. All run as
// processes, from start to end, against 100 ipmi_sim and against 100 of go-ipmi's own
// servers. Then 1,000 sessions are kept and polled. All of it shares the cores of one
// machine: trust the ratios of paired runs. See "make bench-bmc".
//
//	BMC_ROUNDS  paired rounds, default 5

const (
	benchPort = 9623
	benchBMCs = 100
	benchWarm = 1000
	// What the processes that the bench starts of itself are told.
	envServe = "RACKREACH_BENCH_SERVE" // how many BMCs to be
	envSweep = "RACKREACH_BENCH_SWEEP" // second byte of the BMCs' addresses to ask
)

// Goals of the bench.
const (
	goalSweep = 1.0 // of ipmipower's time, at most
	goalWarm  = 1.0 // seconds of CPU for a round, below
)

// benchTarget is one of up to 65,536 BMCs of a fleet, on loopback.
func benchTarget(fleet byte, i int) Target {
	return Target{Device: fmt.Sprint("bmc-", i), Address: netip.AddrFrom4([4]byte{127, fleet, byte(i / 250), byte(i%250 + 1)}), Port: benchPort, User: "admin", Password: "secret"}
}

// The fleets, by the second byte of their addresses.
const (
	openIPMIFleet = 31
	goIPMIFleet   = 32
)

// self starts this program again, as something else.
func self(test, env, value string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run", "^"+test+"$", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), env+"="+value)
	return cmd
}

// TestBenchServer is no test but the process of go-ipmi's servers.
func TestBenchServer(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(envServe))
	if err != nil {
		return
	}
	registry := handlers.NewRegistry()
	handlers.RegisterAllHandlers(registry)
	var servers []*server.Server
	var serving sync.WaitGroup
	for i := range n {
		to := benchTarget(goIPMIFleet, i)
		wire, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(to.addrPort()))
		if err != nil {
			t.Fatal(err)
		}
		b := bmc.New(bmc.DeviceInfo{DeviceID: 32, IPMIVersion: 0x02, ManufacturerID: 1, ProductID: 1}, [16]byte{byte(i), byte(i >> 8)}, &fakeBMC{})
		u, err := b.Users.Add(2, to.User)
		if err != nil {
			t.Fatal(err)
		}
		u.SetPassword([]byte(to.Password))
		u.Enabled = true
		u.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
		s := server.NewServer(b, wire, server.WithHandlerRegistry(registry))
		servers = append(servers, s)
		serving.Go(func() {
			if err := s.Serve(t.Context()); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until the bench ends
		t.Error(err)
	}
	for _, s := range servers {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	serving.Wait()
}

// TestBenchSweep is no test but one sweep of ours as a process.
func TestBenchSweep(t *testing.T) {
	fleet, err := strconv.Atoi(os.Getenv(envSweep))
	if err != nil {
		return
	}
	sweep(t, byte(fleet))
}

// sweep asks every BMC of a fleet once.
func sweep(t *testing.T, fleet byte) {
	t.Helper()
	c := benchClient(t, benchBMCs)
	defer c.Close()
	pollAll(t, c, fleet, benchBMCs)
}

func benchClient(t *testing.T, sessions int) *Client {
	t.Helper()
	var d net.Dialer
	c, err := New(Options{Dial: d.DialContext, MaxSessions: sessions, Idle: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pollAll(t *testing.T, c *Client, fleet byte, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if _, err := c.PowerState(t.Context(), benchTarget(fleet, i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestBMCBench(t *testing.T) {
	for _, n := range []struct{ program, debian string }{{"ipmi_sim", "openipmi"}, {"ipmipower", "freeipmi-tools"}, {"ipmitool", "ipmitool"}, {"xargs", "findutils"}} {
		if _, err := exec.LookPath(n.program); err != nil {
			t.Fatalf("the bench needs %s: apt-get install %s", n.program, n.debian)
		}
	}
	rounds := 5
	if s, ok := os.LookupEnv("BMC_ROUNDS"); ok {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil || rounds < 1 {
			t.Fatalf("BMC_ROUNDS must be a number above 0: %q", s)
		}
	}
	worst := 0.0
	stop := startServers(t, benchWarm)
	worst = max(worst, sweeps(t, "go-ipmi server", goIPMIFleet, rounds))
	cpu := warm(t, rounds)
	stop()
	startOpenIPMIs(t, benchBMCs)
	worst = max(worst, sweeps(t, "ipmi_sim", openIPMIFleet, rounds))
	met := map[bool]string{true: "met", false: "missed"}
	fmt.Printf("goals: sweep %s, warm %s\n", met[worst <= goalSweep], met[cpu < goalWarm])
	fmt.Printf("RESULT sweep_ratio_ipmipower %.2f\n", worst)
	fmt.Printf("RESULT warm_1000_cpu_seconds %.3f\n", cpu)
}

// sweeps times the three programs in turns: the median of our time to ipmipower's.
func sweeps(t *testing.T, name string, fleet byte, rounds int) float64 {
	t.Helper()
	var hosts []string
	for i := range benchBMCs {
		hosts = append(hosts, benchTarget(fleet, i).Address.String())
	}
	run := func(cmd *exec.Cmd, answered string) time.Duration {
		t.Helper()
		began := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(began)
		if n := strings.Count(string(out), answered); err != nil || n != benchBMCs && answered != "PASS" {
			t.Fatalf("%s: %v, %d of %d answered\n%.2000s", cmd.Args[0], err, n, benchBMCs, out)
		}
		return took
	}
	programs := []struct {
		name string
		run  func() time.Duration
	}{
		{"ours", func() time.Duration { return run(self("TestBenchSweep", envSweep, strconv.Itoa(int(fleet))), "PASS") }},
		{"ipmipower", func() time.Duration {
			at := strings.Join(hosts, fmt.Sprintf(":%d,", benchPort)) + fmt.Sprintf(":%d", benchPort)
			return run(exec.Command("ipmipower", "-D", "LAN_2_0", "-W", "opensesspriv", "-h", at, "-u", "admin", "-p", "secret", "--stat"), ": o")
		}},
		{"ipmitool", func() time.Duration {
			cmd := exec.Command("xargs", "-P32", "-I{}", "ipmitool", "-I", "lanplus", "-C", "3", "-H", "{}", "-p", strconv.Itoa(benchPort), "-U", "admin", "-P", "secret", "chassis", "power", "status")
			cmd.Stdin = strings.NewReader(strings.Join(hosts, "\n"))
			return run(cmd, "Chassis Power is")
		}},
	}
	all := map[string][]float64{}
	for i := range rounds {
		for j := range programs {
			p := programs[(i+j)%len(programs)]
			all[p.name] = append(all[p.name], p.run().Seconds())
		}
		began := time.Now()
		sweep(t, fleet)
		all["in process"] = append(all["in process"], time.Since(began).Seconds())
		fmt.Printf("round %d, 100 × %s: ours %.3f s (without starting a process %.3f s), ipmipower %.3f s, ipmitool %.3f s\n", i+1, name,
			all["ours"][i], all["in process"][i], all["ipmipower"][i], all["ipmitool"][i])
	}
	to := func(mine, other string) float64 {
		var ratios []float64
		for i := range all[mine] {
			ratios = append(ratios, all[mine][i]/all[other][i])
		}
		return median(ratios)
	}
	fmt.Printf("100 × %s, medians of %d pairs: ours to ipmipower %.2f (without starting a process %.2f), to ipmitool %.2f\n", name, rounds,
		to("ours", "ipmipower"), to("in process", "ipmipower"), to("ours", "ipmitool"))
	return to("ours", "ipmipower")
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// warm polls 1,000 sessions that are open: the CPU of a round, ours alone.
func warm(t *testing.T, rounds int) float64 {
	t.Helper()
	c := benchClient(t, benchWarm)
	defer c.Close()
	pollAll(t, c, goIPMIFleet, benchWarm)
	var used []float64
	for i := range rounds {
		began, before := time.Now(), ownCPU(t)
		pollAll(t, c, goIPMIFleet, benchWarm)
		used = append(used, (ownCPU(t) - before).Seconds())
		fmt.Printf("round %d, 1,000 sessions polled: %.3f s of CPU, %.3f s\n", i+1, used[i], time.Since(began).Seconds())
	}
	return median(used)
}

// ownCPU is what this process has used so far, in user and system.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// startServers starts go-ipmi's servers in a process of their own.
func startServers(t *testing.T, n int) (stop func()) {
	t.Helper()
	cmd := self("TestBenchServer", envServe, strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(io.Discard, out)
		ended <- errors.Join(err, cmd.Wait())
	}()
	return func() {
		if err := errors.Join(in.Close(), <-ended); err != nil {
			t.Error(err)
		}
	}
}

// startOpenIPMIs starts ipmi_sim once for each BMC.
func startOpenIPMIs(t *testing.T, n int) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		at, own := benchTarget(openIPMIFleet, i), filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{
			"lan.conf": fmt.Sprintf("name \"sim\"\nset_working_mc 0x20\n  startlan 1\n    addr %s %d\n    priv_limit admin\n    allowed_auths_admin none md2 md5 straight\n    guid a123456789abcdefa123456789%06x\n  endlan\n  user 2 true \"admin\" \"secret\" admin 10 none md2 md5 straight\n", at.Address, benchPort, i),
			"sim.emu":  "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n",
		} {
			if err := os.WriteFile(filepath.Join(own, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("ipmi_sim", "-n", "-c", filepath.Join(own, "lan.conf"), "-f", filepath.Join(own, "sim.emu"), "-s", own)
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = null
		if err := errors.Join(cmd.Start(), null.Close()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // it was killed
		})
	}
	c := benchClient(t, n)
	defer c.Close()
	for i := range n { // each says nothing when it is ready
		for late := time.Now().Add(30 * time.Second); ; {
			_, err := c.PowerState(t.Context(), benchTarget(openIPMIFleet, i))
			if err == nil {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("ipmi_sim %d does not answer: %v", i, err)
			}
		}
	}
}
