package rackagent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/ordercheck"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/simimage"
)

// shippedSpeed leaves three seconds to confirm a configuration that is taken back after
// five minutes.
const shippedSpeed = 100

// unplayed are platforms that have no simulated device, each with its reason. A platform
// that is shipped is here, has status simulated, or is one of sim.Conducts.
var unplayed = map[string]string{
	"anaconda-kickstart": byTheirOwn,
	"debian-preseed":     byTheirOwn,
	"esxi":               byTheirOwn,
	"linux-server":       byTheirOwn,
	"ubuntu-autoinstall": byTheirOwn,
}

// byTheirOwn: these need boot files and answers of their own.
const byTheirOwn = "imaged, and broken at each step but the ticket, in TestServersWithSystemsOfTheirMakers (cmd/rackreach)"

// besides is what else the rack file says of a device of a platform, behind a comma, and
// the images that this needs besides its own.
var besides = map[string]struct {
	entry  string
	images []simimage.Spec
}{}

// wrongPassword is a fault of the rack file, not of a device.
const wrongPassword sim.FaultKind = "wrong-password"

// broken is the fault that lets a step of a device fail for good. first: it waits for what
// the device is discovered by.
func broken(s *rack.Step, first bool) (phase rack.Phase, kind sim.FaultKind) {
	switch {
	case s.Action == rack.BMCLogin:
		return rack.Discovery, wrongPassword
	case s.Action == rack.BootPXE && s.OnRetry:
		return rack.Installation, sim.FaultBMCDead
	case s.Action == rack.BootPXE:
		return rack.Discovery, sim.FaultError
	case s.Action == rack.PowerCycle:
		return s.Phase, sim.FaultBMCIdle
	case s.Action == rack.PushConfig:
		return rack.Configuration, sim.FaultError
	case s.Action == rack.VerifyDevice:
		return rack.Configuration, sim.FaultLie
	case s.Action != rack.Wait:
	case first:
		return rack.Discovery, sim.FaultNoDHCP
	case s.Until == rack.DHCPPXE:
		return rack.Discovery, sim.FaultHang
	case s.Until == rack.FetchedBootLoader:
		return rack.Installation, sim.FaultNoFile
	case s.Until == rack.FetchedImage:
		return rack.Installation, sim.FaultHang
	case s.Until == rack.ReportedInstalled, s.Until == rack.DHCPNOS && slices.Contains(s.Unless, rack.DHCPONIE):
		return rack.Installation, sim.FaultError
	case s.Until == rack.DHCPNOS, s.Until == rack.DHCPOS:
		return rack.Installation, sim.FaultNoDHCP
	}
	return "", ""
}

// shipped is one platform in one role, in the smallest rack that has it.
type shipped struct {
	platform *platform.Definition
	role     rack.Role
	password string // of its devices; empty: secret
	version  string // that its device is to show; empty: that of its image
	// ends is asked of each event whether the agent ends there, once; another one goes on
	// with its journal. Nil: it does not.
	ends func(rack.Event) bool
}

// name of the device that is looked at.
func (s shipped) device() string {
	return map[rack.Role]string{rack.ManagementSwitch: "mgmt-1", rack.ToRSwitch: "tor-1", rack.InterRackSwitch: "inter-rack-1", rack.Server: "server-1"}[s.role]
}

// image is of the kind that such a device installs. Where a transfer is to stop in the
// middle it does not fit the buffers of a connection.
func (s shipped) image(faults []sim.Fault) simimage.Spec {
	size := simimage.SmallSwitchSize
	if slices.ContainsFunc(faults, func(f sim.Fault) bool { return f.Phase == rack.Installation && f.Kind == sim.FaultHang }) {
		size = simimage.SwitchSize
	}
	stages := s.platform.Match.Stages
	switch {
	case slices.Contains(stages, rack.StageONIE):
		return simimage.Spec{Name: "nos-2.7.1.bin", Size: size, ONIE: true, Version: "2.7.1"}
	case !slices.Contains(stages, rack.StagePXE):
		return simimage.Spec{Name: "EOS-4.32.1F.swi", Size: size, Version: "4.32.1F"}
	}
	return simimage.Spec{Name: "installed.img", Size: size}
}

// file is the rack file, with so many devices of that platform if they are servers.
func (s shipped) file(servers int, faults []sim.Fault) string {
	bmc := func(device string) string {
		if slices.ContainsFunc(faults, func(f sim.Fault) bool { return f.Device == device && f.Kind == wrongPassword }) {
			return "env:WRONG"
		}
		return "env:BMC"
	}
	access := ""
	if s.platform.SpeaksSSH() {
		access = `, access: {credentials: "env:ACCESS", key: "env:KEY"}`
	}
	with := func(role rack.Role, simulated string) string {
		if role == s.role {
			said := fmt.Sprintf("platform: %s, image: %q%s%s", s.platform.Name, s.image(nil).Name, access, besides[s.platform.Name].entry)
			if v := cmp.Or(s.version, s.image(nil).Version); v != "" {
				said += fmt.Sprintf(", version: %q", v)
			}
			return said
		}
		return fmt.Sprintf("platform: %s, image: %s", simulated, map[string]string{platform.SimManagement: "sim-nos-mgmt-small", platform.SimToR: "sim-nos-onie-small"}[simulated])
	}
	var b strings.Builder
	b.WriteString("apiVersion: rackreach/v1\nkind: Rack\nname: r2\nnumber: 2\nagent: {cable: \"mgmt-1:48\"}\n" +
		"networks: {management: {cidr: 192.168.100.0/24}, data: {cidr: 10.0.1.0/24}}\ndevices:\n")
	fmt.Fprintf(&b, "  - {name: mgmt-1, role: management-switch, %s, address: 192.168.100.1, bmc: {protocol: ipmi, address: 192.168.100.100, credentials: %q}}\n",
		with(rack.ManagementSwitch, platform.SimManagement), bmc("mgmt-1"))
	switch s.role {
	case rack.ToRSwitch, rack.Server:
		fmt.Fprintf(&b, "  - {name: tor-1, role: tor-switch, %s, address: 192.168.100.2, management: \"mgmt-1:45\", data: \"mgmt-1:43\"}\n", with(rack.ToRSwitch, platform.SimToR))
	case rack.InterRackSwitch:
		fmt.Fprintf(&b, "  - {name: inter-rack-1, role: inter-rack-switch, %s, address: 192.168.100.2, management: \"mgmt-1:45\"}\n", with(rack.InterRackSwitch, platform.SimSpine))
	}
	for n := 1; s.role == rack.Server && n <= servers; n++ {
		fmt.Fprintf(&b, "  - {name: server-%d, role: server, %s, address: 10.0.1.%d, management: \"mgmt-1:%d\", data: [\"tor-1:swp%d\"], bmc: {protocol: ipmi, address: 192.168.100.%d, credentials: %q}}\n",
			n, with(rack.Server, platform.SimServer), 10+n, n, n, 100+n, bmc(fmt.Sprintf("server-%d", n)))
	}
	return b.String()
}

// outcome is how a run ended.
type outcome struct {
	halted, completed bool
	failed            map[string]string // by device: the step that failed for good
	ready             []string
	violations        []ordercheck.Violation
	weak              map[string]int // by device: weaknesses of its BMC
	why               string         // what failed, for the reader of a failed test
}

// run images a rack with faults. The steps that are to fail are given up soon, and not
// tried again if it says true.
func (s shipped) run(t *testing.T, servers int, faults []sim.Fault, fails map[string]bool) (out outcome) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	password := cmp.Or(s.password, "secret")
	platforms := platform.Scaled(platform.All(), shippedSpeed, time.Minute)
	p := platforms[s.platform.Name]
	for i := range p.Steps {
		if last, ok := fails[p.Steps[i].Name]; ok {
			if last {
				p.Steps[i].Retries = 0
			}
			p.Steps[i].Limit = 2 * time.Second
			if servers > 1 { // the others need the time
				p.Steps[i].Limit = 8 * time.Second
			}
		}
	}
	text := s.file(servers, faults)
	r, err := rackfile.Parse("rack.yaml", []byte(text), nil, platforms)
	check(err)
	images, err := simimage.New(append(append(simimage.Specs(), s.image(faults)), besides[s.platform.Name].images...))
	check(err)
	plan, err := rack.NewPlan(r, platforms, images.Describe)
	check(err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	block, err := ssh.MarshalPrivateKey(private, "")
	check(err)
	key := pem.EncodeToMemory(block)
	var record bytes.Buffer
	faults = slices.DeleteFunc(slices.Clone(faults), func(f sim.Fault) bool { return f.Kind == wrongPassword })
	rig, err := sim.New(sim.Options{Rack: r, Platforms: platforms, Speed: shippedSpeed, Seed: 1, User: "admin", Password: password, Record: &record, Faults: faults})
	check(err)
	told := map[uint64]bool{}
	out.failed, out.weak = map[string]string{}, map[string]int{}
	var mu sync.Mutex
	// Who hangs in the middle of a transfer would be waited for at the end.
	ended := make(chan struct{})
	over := sync.OnceFunc(func() { close(ended) })
	var closing sync.WaitGroup
	defer closing.Wait()
	defer over()
	closing.Go(func() {
		<-ended
		if err := rig.Close(); err != nil {
			t.Error(err)
		}
	})
	discovery := 30 * time.Second
	if slices.ContainsFunc(faults, func(f sim.Fault) bool { return f.Phase == rack.Discovery && f.Kind == sim.FaultNoDHCP }) {
		discovery = 5 * time.Second
	}
	stopped := s.ends == nil // it ends once
	var stop context.CancelFunc
	o := Options{Rack: r, Platforms: platforms, Plan: plan, Images: images, Log: journal.NewMemory(), Secret: []byte("secret"), RunID: "RUN1", BaseURL: "http://" + sim.AgentHTTP,
		ListenDHCP: rig.ListenDHCP, ServerID: netip.MustParseAddr("127.0.0.1"), Dial: rig.Dial,
		Credentials: func(reference string) (string, string, error) {
			switch {
			case reference == "env:WRONG":
				return "admin", "wrong", nil
			case reference == "env:ACCESS" && p.Provision != nil && p.Provision.Key:
				return "admin", "", nil // what it was given at its first boot lets us in
			}
			return "admin", password, nil
		},
		Key:            func(string) ([]byte, error) { return key, nil },
		DiscoveryLimit: discovery, ScanEvery: 250 * time.Millisecond, Power: power.Options{Poll: 20 * time.Millisecond, Gap: 20 * time.Millisecond},
		Announce: func(e rack.Event) {
			mu.Lock()
			defer mu.Unlock()
			if !stopped && e.Device == s.device() && s.ends(e) {
				stopped = true
				stop()
			}
			switch e.Kind {
			case rack.RackHalted:
				out.halted = true
				over()
			case rack.RackCompleted:
				out.completed = true
				over()
			case rack.DeviceReady:
				out.ready = append(out.ready, e.Device)
			case rack.WeaknessFound:
				if !told[e.Seq] { // another life tells of what is in the journal, too
					out.weak[e.Device]++
				}
				told[e.Seq] = true
				out.why += e.Device + ": " + e.Detail.Reason + "\n"
			case rack.StepFailed:
				out.why += fmt.Sprintf("%s %s: %s\n", e.Device, e.Detail.Step, e.Detail.Error)
				if e.Detail.Final {
					out.failed[e.Device] = e.Detail.Step
				}
			case rack.DeviceFailed:
				out.why += e.Device + ": " + e.Detail.Error + "\n"
			}
		}}
	started := false
	for ended := true; ended; {
		ended = func() bool {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			mu.Lock()
			stop = cancel
			mu.Unlock()
			var err error
			o.HTTP, err = net.Listen("tcp", "127.0.0.1:0")
			check(err)
			o.TFTP, err = net.ListenPacket("udp", "127.0.0.1:0")
			check(err)
			a, err := New(o)
			check(err)
			rig.Connect(sim.Services{DHCP: rig.DHCPConn().LocalAddr(), TFTP: o.TFTP.LocalAddr(), HTTP: o.HTTP.Addr()})
			if !started {
				rig.Start(t.Context())
				started = true
			}
			err = a.Run(ctx)
			if err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			return err != nil
		}()
	}
	over()
	closing.Wait()
	out.violations, err = ordercheck.Check(strings.NewReader(text), bytes.NewReader(record.Bytes()))
	check(err)
	mu.Lock()
	defer mu.Unlock()
	if !stopped {
		t.Error("the agent never came to the event at which it was to end")
	}
	return out
}

// TestShippedPlatforms images the simulated device of every platform that is shipped,
// over real sockets, and lets each of its steps fail for good: of a switch that halts the
// rack with that step named, a server is isolated and the other servers are finished.
func TestShippedPlatforms(t *testing.T) {
	var turns sync.WaitGroup
	defer turns.Wait()
	room := make(chan struct{}, 16) // most of a run is waiting
	inTurn := func(name string, f func(t *testing.T)) {
		turns.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			t.Run(name, f)
		})
	}
	for _, d := range platform.Default().Definitions() {
		played := d.Status == platform.Simulated || slices.Contains(sim.Conducts(), d.Name)
		if reason := unplayed[d.Name]; played == (reason != "") {
			t.Errorf("platform %s: give it a simulated device (internal/sim/conduct.go), or a reason in unplayed, one of the two", d.Name)
		}
		if !played {
			continue
		}
		for _, role := range d.Roles {
			s := shipped{platform: d, role: role}
			if role == rack.Server {
				turns.Go(func() { t.Run(d.Name, s.servers) }) // these take longest
				continue
			}
			inTurn(fmt.Sprintf("%s/%s", d.Name, role), func(t *testing.T) {
				o := s.run(t, 0, nil, nil)
				if !o.completed || len(o.failed) > 0 || !slices.Contains(o.ready, s.device()) || len(o.violations) > 0 {
					t.Errorf("%+v", o)
				}
			})
			for i := range d.Steps {
				step := &d.Steps[i]
				if role != d.Roles[0] && i < len(d.Steps)-1 {
					continue // the steps are the same, in whichever role
				}
				if f, want, fails := s.fault(t, i, s.device()); len(f) > 0 {
					inTurn(fmt.Sprintf("%s/%s/%s", d.Name, role, step.Name), func(t *testing.T) {
						o := s.run(t, 0, f, fails)
						if !o.halted || o.failed[s.device()] != want || slices.Contains(o.ready, s.device()) {
							t.Errorf("%s: the rack is to halt with %s of %s: %+v", f, want, s.device(), o)
						}
					})
				}
			}
		}
	}
}

// A switch that does not show the version that the rack file names is not ready.
func TestAnotherVersion(t *testing.T) {
	d, _ := platform.Default().Definition("sonic")
	s := shipped{platform: d, role: rack.ToRSwitch, version: "2.7.2"}
	o := s.run(t, 0, nil, map[string]bool{"verify": true})
	if !o.halted || o.failed["tor-1"] != "verify" || !strings.Contains(o.why, `does not show "2.7.2"`) {
		t.Errorf("%+v", o)
	}
}

// A BMC that lets us in by a login that everybody knows is told of, once, also when the agent
// ends behind that and logs in anew; one that does not is not.
func TestWeaknessesOfBMCs(t *testing.T) {
	d, _ := platform.Default().Definition(platform.SimManagement)
	for password, want := range map[string]int{"secret": 0, "admin": 1} {
		s := shipped{platform: d, role: rack.ManagementSwitch, password: password,
			ends: func(e rack.Event) bool { return e.Kind == rack.StepStarted && e.Detail.Step == "boot-device" }}
		o := s.run(t, 0, nil, nil)
		if !o.completed || o.weak["mgmt-1"] != want || want > 0 && !strings.Contains(o.why, "its BMC: the login that rackreach was given is one that everybody knows") {
			t.Errorf("password %s: %+v", password, o)
		}
	}
}

// The agent ends while a switch provisions itself, and another one goes on: the switch is
// installed all the same, and by no more than one image for each ticket.
func TestProvisioningOutlivesTheAgent(t *testing.T) {
	seen := func(p rack.Evidence) func(rack.Event) bool {
		return func(e rack.Event) bool { return e.Detail.Seen != nil && e.Detail.Seen.Proves == p }
	}
	var turns sync.WaitGroup
	defer turns.Wait()
	for _, name := range []string{"sonic", "eos"} {
		for at, ends := range map[string]func(rack.Event) bool{
			"ticket":     func(e rack.Event) bool { return e.Kind == rack.TicketIssued },
			"image":      seen(rack.FetchedImage),
			"report":     seen(rack.ReportedInstalled),
			"first boot": seen(rack.DHCPNOS),
			"push":       func(e rack.Event) bool { return e.Kind == rack.StepStarted && e.Detail.Step == "push" },
		} {
			d, _ := platform.Default().Definition(name)
			s := shipped{platform: d, role: rack.ToRSwitch, ends: ends}
			turns.Go(func() {
				t.Run(name+"/"+at, func(t *testing.T) {
					if o := s.run(t, 0, nil, nil); !o.completed || !slices.Contains(o.ready, "tor-1") || len(o.violations) > 0 {
						t.Errorf("%+v", o)
					}
				})
			})
		}
	}
}

// servers images a rack in which each server but the last has another step that fails.
func (s shipped) servers(t *testing.T) {
	var faults []sim.Fault
	want, fails := map[string]string{}, map[string]bool{}
	n := 1
	for i := range s.platform.Steps {
		f, step, soon := s.fault(t, i, fmt.Sprintf("server-%d", n))
		if len(f) == 0 {
			continue
		}
		want[f[0].Device] = step
		faults = append(faults, f...)
		for name, last := range soon {
			if kept, ok := fails[name]; ok && !kept {
				last = false // another one is to come to its retry
			}
			fails[name] = last
		}
		n++
	}
	o := s.run(t, n, faults, fails)
	if !o.completed || o.halted || !slices.Contains(o.ready, fmt.Sprintf("server-%d", n)) || len(o.ready) != 3 || len(o.violations) > 0 {
		t.Errorf("all but the failed ones are to be finished: %+v", o)
	}
	for device, step := range want {
		if o.failed[device] != step {
			t.Errorf("%s failed at %q, want %s: %s", device, o.failed[device], step, o.why)
		}
	}
}

// fault lets a step of a device fail; want is what is said to have failed, and fails are
// the steps as run takes them. There is none for a ticket, a decision of rackreach itself,
// for a step of a reimaging, and for one that needs nobody. A step that only a retry comes
// to is led to by firmware that fetches no boot file.
func (s shipped) fault(t *testing.T, i int, device string) (list []sim.Fault, want string, fails map[string]bool) {
	step := &s.platform.Steps[i]
	if step.OnReimage || step.Action == rack.IssueTicket {
		return nil, "", nil
	}
	first := step.Phase == rack.Discovery && step.Action == rack.Wait && !slices.ContainsFunc(s.platform.Steps[:i], func(b rack.Step) bool { return !b.OnReimage })
	phase, kind := broken(step, first)
	if kind == "" {
		t.Errorf("platform %s: step %s (%s): give it a fault in broken", s.platform.Name, step.Name, platform.Does(step))
		return nil, "", nil
	}
	if want = step.Name; first {
		want = "first-contact"
	}
	list, fails = []sim.Fault{{Device: device, Phase: phase, Kind: kind}}, map[string]bool{step.Name: true}
	if step.OnRetry {
		list = append(list, sim.Fault{Device: device, Phase: rack.Installation, Kind: sim.FaultNoFile})
		for _, x := range s.platform.Steps[i:] {
			if x.Until == rack.FetchedBootLoader {
				fails[x.Name] = false
			}
		}
	}
	return list, want, fails
}
