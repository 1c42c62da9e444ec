package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// patience bounds every wait of a test; nothing takes that long unless it hangs.
const patience = 20 * time.Second

// agent is a small stand-in for the product: it answers whatever the simulated
// devices ask, for the slots whose tickets are open.
type agent struct {
	t       *testing.T
	sim     *Sim
	wire    wire
	rack    *rack.Rack
	rec     recorder
	seen    *journal[string] // evidence: "dhcp:onie tor-1", "reported:failed server-01", …
	data    []byte           // image of PXE devices
	onie    []byte           // installer
	http    *http.Server
	tftp    *tftp.Server
	where   Services
	running sync.WaitGroup

	mu    sync.Mutex
	open  map[string]bool // tickets
	omit  string          // port that configurations leave out
	names string          // what jobs name to be overwritten
	run   string          // of jobs
	stall chan struct{}   // the next image stops halfway until it is closed
}

// wire is a rack as its agent sees it: in this process or in another.
type wire interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	ListenDHCP() (net.PacketConn, error)
}

var _, _ wire = (*Sim)(nil), (*Remote)(nil)

const (
	testUser     = "admin"
	testPassword = "secret"
)

// testRack has one management switch, one ToR, one server.
func testRack() *rack.Rack {
	a := netip.MustParseAddr
	return &rack.Rack{
		Name: "r1", Number: 1, Agent: rack.Agent{Cable: port("mgmt-1:48")},
		Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.1.0/24"),
		Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "pxe-switch", Address: a("192.168.100.1"), BMC: &rack.BMC{Protocol: "ipmi", Address: a("192.168.100.201")}},
			{Name: "tor-1", Role: rack.ToRSwitch, Platform: "onie-switch", Address: a("192.168.100.2"), Management: port("mgmt-1:45"), Data: []rack.Port{port("mgmt-1:43")}},
			{Name: "server-01", Role: rack.Server, Platform: "pxe-server", Address: a("10.0.1.11"), Management: port("mgmt-1:1"), Data: []rack.Port{port("tor-1:1"), port("tor-1:2")},
				BMC: &rack.BMC{Protocol: "ipmi", Address: a("192.168.100.101")}},
		},
	}
}

func port(s string) rack.Port {
	p, err := rack.ParsePort(s)
	if err != nil {
		panic(err)
	}
	return p
}

func testPlatforms() map[string]rack.Platform {
	return map[string]rack.Platform{
		"pxe-switch":  {Name: "pxe-switch", Match: rack.Match{Stages: []rack.Stage{rack.StagePXE}}},
		"pxe-server":  {Name: "pxe-server", Match: rack.Match{Stages: []rack.Stage{rack.StagePXE}}},
		"onie-switch": {Name: "onie-switch", Match: rack.Match{Stages: []rack.Stage{rack.StageONIE}, Machines: []string{"sim_tor48"}}},
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// testSpeed makes the shortest tests; floors in real time rule most waits.
const testSpeed = 600

// newAgent builds a rack with faults, connects an agent to it and switches it on.
func newAgent(t *testing.T, r *rack.Rack, faults ...string) *agent {
	t.Helper()
	t.Parallel()
	return newAgentWith(t, r, testSpeed, 700_001, faults...)
}

// newAgentWith also chooses the speed and the size of images.
func newAgentWith(t *testing.T, r *rack.Rack, speed float64, size int, faults ...string) *agent {
	t.Helper()
	a := newAgentOff(t, r, speed, size, faults...)
	a.wire = a.sim
	t.Cleanup(a.close)
	a.serve()
	a.sim.Connect(a.where)
	a.sim.Start(t.Context())
	return a
}

// newAgentOff builds a rack that is still switched off; nothing is served yet.
func newAgentOff(t *testing.T, r *rack.Rack, speed float64, size int, faults ...string) *agent {
	t.Helper()
	a := &agent{t: t, rack: r, rec: recorder{newJournal[line]()}, seen: newJournal[string](), data: randomBytes(size), open: map[string]bool{}, run: "run-1"}
	payload := randomBytes(size / 4)
	a.onie = append([]byte("#!/bin/sh\n# image: test-nos\n# payload-sha256: "+hexSum(payload)+"\nexit 0\n__ARCHIVE__\n"), payload...)
	var list []Fault
	for _, f := range faults {
		x, err := ParseFault(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	s, err := New(Options{Rack: r, Platforms: testPlatforms(), Speed: speed, Faults: list, Record: a.rec, Seed: 1, User: testUser, Password: testPassword})
	if err != nil {
		t.Fatal(err)
	}
	a.sim = s
	return a
}

func (a *agent) serve() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		a.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /job/{device}", a.job)
	mux.HandleFunc("GET /image/{device}", a.image)
	mux.HandleFunc("POST /report/{device}", a.report)
	a.http = &http.Server{Handler: mux}
	a.tftp = tftp.NewServer(a.bootFile, nil)
	a.tftp.SetBlockSize(1428)
	a.where = Services{TFTP: u.LocalAddr(), HTTP: l.Addr()}
	running := &a.running
	running.Go(func() {
		if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.t.Error(err)
		}
	})
	running.Go(func() {
		if err := a.tftp.Serve(u); err != nil {
			a.t.Error(err)
		}
	})
	c, err := a.wire.ListenDHCP()
	if err != nil {
		a.t.Fatal(err)
	}
	running.Go(func() { a.serveDHCP(c) })
}

func (a *agent) close() {
	if err := a.sim.Close(); err != nil {
		a.t.Error(err)
	}
	a.stop()
}

// stop ends the agent's services; its DHCP socket is closed already.
func (a *agent) stop() {
	if err := a.http.Close(); err != nil {
		a.t.Error(err)
	}
	a.tftp.Shutdown()
	a.running.Wait()
}

func (a *agent) ticket(device string, open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[device] = open
}

func (a *agent) isOpen(device string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open[device]
}

func (a *agent) url(path, device string) string {
	at := a.where.HTTP.String()
	if a.wire != wire(a.sim) {
		at = AgentHTTP // devices keep it while agents come and go
	}
	return "http://" + at + "/" + path + "/" + device
}

func (a *agent) job(w http.ResponseWriter, q *http.Request) {
	device := q.PathValue("device")
	if !a.isOpen(device) {
		w.WriteHeader(http.StatusGone)
		return
	}
	j := job{Rack: a.rack.Name, Device: device, Report: a.url("report", device), Ticket: "t-" + device}
	a.mu.Lock()
	j.Run, j.Overwrites = a.run, a.names
	a.mu.Unlock()
	j.Image.Name, j.Image.URL, j.Image.Digest, j.Image.Size = "test-image", a.url("image", device), "sha256:"+hexSum(a.data), int64(len(a.data))
	if err := json.NewEncoder(w).Encode(j); err != nil {
		a.seen.add("broken:job " + device)
	}
}

func (a *agent) image(w http.ResponseWriter, q *http.Request) {
	device := q.PathValue("device")
	if !a.isOpen(device) {
		w.WriteHeader(http.StatusGone)
		return
	}
	b := a.data
	if d, _ := a.rack.Device(device); d.Platform == "onie-switch" {
		b = a.onie
	}
	a.mu.Lock()
	stall := a.stall
	a.stall = nil
	a.mu.Unlock()
	if stall == nil {
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(b))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, first := w.Write(b[:len(b)/2])
	flushed := http.NewResponseController(w).Flush()
	<-stall
	_, second := w.Write(b[len(b)/2:])
	if errors.Join(first, flushed, second) != nil {
		a.seen.add("broken:image " + device)
	}
}

func (a *agent) report(w http.ResponseWriter, q *http.Request) {
	var r report
	if err := json.NewDecoder(q.Body).Decode(&r); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	device := q.PathValue("device")
	a.ticket(device, false)
	a.seen.add("reported:" + r.State + " " + device + " " + strings.TrimSpace(r.Message+" "+r.Holds))
	w.WriteHeader(http.StatusNoContent)
}

func (a *agent) bootFile(name string, to io.ReaderFrom) error {
	device := strings.TrimSuffix(name, "/boot.ipxe")
	if !a.isOpen(device) {
		return errors.New("no such file")
	}
	_, err := to.ReadFrom(strings.NewReader("#!ipxe\nkernel vmlinuz quiet rackreach.job=" + a.url("job", device) + "\nboot\n"))
	a.seen.add("fetched:boot-loader " + device)
	return err
}

func (a *agent) serveDHCP(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			a.t.Errorf("DHCP packet: %v", err)
			continue
		}
		if err := a.answer(c, from, p); err != nil && !errors.Is(err, net.ErrClosed) {
			a.t.Errorf("DHCP answer: %v", err)
		}
	}
}

// slot says who sent a packet, and in which stage.
func (a *agent) slot(p *dhcpv4.DHCPv4) (d *rack.Device, stage string) {
	class := p.ClassIdentifier()
	for prefix, s := range map[string]string{"PXEClient": "pxe", "onie_vendor": "onie", "cumulus": "nos", "udhcp": "os", "iDRAC": "bmc"} {
		if strings.HasPrefix(class, prefix) {
			stage = s
		}
	}
	via := rack.Port{}
	if i := p.RelayAgentInfo(); i != nil {
		via = rack.Port{Device: string(i.Get(dhcpv4.AgentRemoteIDSubOption)), Name: string(i.Get(dhcpv4.AgentCircuitIDSubOption))}
	}
	for i := range a.rack.Devices {
		x := &a.rack.Devices[i]
		if x.Management == via {
			return x, stage
		}
		for _, q := range x.Data {
			if q == via {
				return x, stage
			}
		}
	}
	return nil, stage
}

func (a *agent) answer(c net.PacketConn, from net.Addr, p *dhcpv4.DHCPv4) error {
	d, stage := a.slot(p)
	if d == nil {
		return fmt.Errorf("nobody's packet: %s", p.Summary())
	}
	kind := map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer,
		dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck, dhcpv4.MessageTypeInform: dhcpv4.MessageTypeAck}[p.MessageType()]
	if kind == dhcpv4.MessageTypeNone {
		a.seen.add("dhcp:declined " + d.Name)
		return nil
	}
	address := d.Address
	if stage == "bmc" {
		address = d.BMC.Address
	}
	r, err := dhcpv4.NewReplyFromRequest(p, dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(net.IPv4(192, 168, 100, 250)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 100, 250))))
	if err != nil {
		return err
	}
	if p.MessageType() != dhcpv4.MessageTypeInform {
		r.YourIPAddr = address.AsSlice()
	}
	if a.isOpen(d.Name) && stage == "pxe" {
		r.BootFileName = d.Name + "/boot.ipxe"
	}
	if a.isOpen(d.Name) && stage == "onie" {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(114), []byte(a.url("image", d.Name))))
	}
	var to net.Addr = &net.UDPAddr{IP: net.IPv4bcast, Port: 68}
	if v := p.Options.Get(dhcpv4.OptionRelayAgentInformation); v != nil {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, v))
		u, ok := from.(*net.UDPAddr)
		if !ok || !p.GatewayIPAddr.Equal(u.IP) || !dhcpv4.Options(p.RelayAgentInfo().Options).Has(relaySourcePort) {
			return fmt.Errorf("a relay at %v calls itself %s", from, p.GatewayIPAddr)
		}
		to = from
	}
	if kind == dhcpv4.MessageTypeAck {
		word := "dhcp:"
		if p.MessageType() == dhcpv4.MessageTypeInform {
			word = "inform:"
		}
		a.seen.add(word + stage + " " + d.Name)
	}
	_, err = c.WriteTo(r.ToBytes(), to)
	return err
}
