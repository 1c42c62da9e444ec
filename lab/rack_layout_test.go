//go:build lab

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// layout is what stands in a rack. The rack file says the same to the product, and says
// more of it.
type layout struct {
	name      string
	folder    string // of its report; empty: it is the only one
	number    int    // its networks are 192.168.(100+number).0/24 and 10.0.number.0
	file      string // rack file, in testdata/rack
	bits      int    // prefix of the data network
	interRack int    // inter-rack switches
	servers   []slot
}

// slot is what a server is.
type slot struct {
	firm firmware
	cpu  string
}

const (
	plainCPU      = "qemu64"
	hypervisorCPU = "qemu64,+svm,+npt"
)

// single is the rack that stands alone.
var single = layout{name: "r4", number: 4, file: "rack.yaml", bits: 24,
	servers: []slot{{bios, plainCPU}, {bios, plainCPU}, {bios, hypervisorCPU}, {uefiHTTP, plainCPU}}}

// management is an address on the rack's management network.
func (l *layout) management(host int) string {
	return fmt.Sprintf("192.168.%d.%d", 100+l.number, host)
}

// data is an address on its data network.
func (l *layout) data(host int) string { return fmt.Sprintf("10.0.%d.%d", l.number, host) }

// Hosts of the networks, as all rack files of the lab have them.
const (
	hostAgent  = 254 // on both
	hostMgmt   = 1
	hostToR    = 1 // and its number
	hostSpine  = 3 // and its number
	hostBMC    = 100
	hostServer = 10 // and its number
)

func serverName(n int) string { return fmt.Sprintf("server-%02d", n) }

// switches are the names of the rack's switches, in the order of the rack file.
func (l *layout) switches() []string {
	names := []string{"mgmt-1", "tor-1", "tor-2"}
	for i := range l.interRack {
		names = append(names, fmt.Sprintf("inter-rack-%d", i+1))
	}
	return names
}

// hosts are the names of its servers.
func (l *layout) hosts() (names []string) {
	for i := range l.servers {
		names = append(names, serverName(i+1))
	}
	return names
}

// devices are all of them.
func (l *layout) devices() []string { return slices.Concat(l.switches(), l.hosts()) }

// address is that of a device on its own network.
func (l *layout) address(device string) string {
	kind, n := device[:strings.LastIndexByte(device, '-')], 0
	if _, err := fmt.Sscanf(device[len(kind)+1:], "%d", &n); err != nil {
		panic(err)
	}
	switch kind {
	case "mgmt":
		return l.management(hostMgmt)
	case "tor":
		return l.management(hostToR + n)
	case "inter-rack":
		return l.management(hostSpine + n)
	}
	return l.data(hostServer + n)
}

// wire makes machines, cables and BMCs.
func (r *labRack) wire() {
	r.agent.Do(func() {
		if err := r.agent.IPv6("default", true); err != nil {
			r.t.Error(err)
		}
	})
	r.agent.Cable("rr0", r.gate, "rr1")
	bmc := nstest.New(r.t)
	bmc.Cable("rr9", r.gate, "rr3")
	bmc.Address("rr9", r.management(hostBMC)+"/24")
	longCable(r.t, r.gate, "rr2", r.cable("agent"), r.cable("mgmt-1.swp48"))
	r.gate.Bridge("br0", "rr1", "rr2", "rr3")
	r.heard = filepath.Join(r.dir, "pcap", "agent.pcap")
	tcpdump := exec.Command("tcpdump", "-i", "br0", "-U", "--immediate-mode", "-n", "-s", fmt.Sprint(snapLength), "-Z", "root", "-w", r.heard)
	listens := &said{}
	tcpdump.Stderr = listens
	r.gate.Start(tcpdump)
	listens.await(r.t, 20*time.Second, "listening on")
	r.agent.Address("rr0", r.management(hostAgent)+"/24")
	r.agent.Address("rr0", fmt.Sprintf("%s/%d", r.data(hostAgent), r.bits))

	mgmt := r.add("mgmt-1", 0xa1, bios, "768")
	mgmt.plug(r, 48, "agent", true)
	for i := range r.servers {
		mgmt.plug(r, i+1, serverName(i+1)+".bmc", false)
	}
	for i := 1; i <= 2; i++ {
		mgmt.plug(r, 42+i, fmt.Sprintf("tor-%d.swp54", i), false)
		mgmt.plug(r, 44+i, fmt.Sprintf("tor-%d.eth0", i), false)
	}
	for i := 1; i <= r.interRack; i++ {
		mgmt.plug(r, 48+i, fmt.Sprintf("inter-rack-%d.eth0", i), false)
	}
	r.blank(mgmt, 200*mib)
	r.mgmtBMC = mgmt.bmc(bmc, r.management(hostBMC))
	for i := 1; i <= 2; i++ {
		tor := r.onie(fmt.Sprintf("tor-%d", i), byte(0xb0+i), "lab_tor8")
		tor.plug(r, 0, fmt.Sprintf("mgmt-1.swp%d", 44+i), false)
		tor.plug(r, 54, fmt.Sprintf("mgmt-1.swp%d", 42+i), false)
		for s := range r.servers {
			tor.plug(r, s+1, fmt.Sprintf("%s.eth%d", serverName(s+1), i-1), false)
		}
		for s := 1; s <= r.interRack; s++ {
			tor.plug(r, trunkPort+s, fmt.Sprintf("inter-rack-%d.swp%d", s, i), false)
		}
	}
	for i := 1; i <= r.interRack; i++ {
		spine := r.onie(fmt.Sprintf("inter-rack-%d", i), byte(0xd0+i), "lab_spine4")
		spine.plug(r, 0, fmt.Sprintf("mgmt-1.swp%d", 48+i), false)
		for t := 1; t <= 2; t++ {
			spine.plug(r, t, fmt.Sprintf("tor-%d.swp%d", t, trunkPort+i), false)
		}
	}
	for i := range r.servers {
		r.server(i + 1)
	}
}

// trunkPort and the number of an inter-rack switch are the port of a ToR switch that
// leads there.
const trunkPort = 48

// server makes a server and its BMC, which hangs on the management switch.
func (r *labRack) server(n int) {
	s := r.add(serverName(n), byte(0xc0+n), r.servers[n-1].firm, "640")
	s.cpu = r.servers[n-1].cpu
	s.attach(r, "eth0", fmt.Sprintf("tor-1.swp%d", n), 1, true)
	s.attach(r, "eth1", fmt.Sprintf("tor-2.swp%d", n), 2, false)
	r.blank(s, 200*mib)
	h := nstest.New(r.t)
	longCable(r.t, h, "rr0", r.cable(s.name+".bmc"), r.cable(fmt.Sprintf("mgmt-1.swp%d", n)))
	r.bmcs[s.name+".bmc"] = h.MAC("rr0").String()
	address := r.management(hostBMC + n)
	h.Address("rr0", address+"/24")
	s.bmc(h, address)
}

// onie makes a switch without cables as its maker delivers it: ONIE is on its disk.
func (r *labRack) onie(name string, number byte, product string) *node {
	n := r.add(name, number, bios, "320")
	n.product = product
	if out, err := exec.Command("cp", "--sparse=always", r.stock.onie, n.disk).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return n
}

// add makes a machine without cables and disk.
func (r *labRack) add(name string, number byte, firm firmware, memory string) *node {
	n := &node{t: r.t, hall: r.hall, name: name, dir: filepath.Join(r.dir, name), pcap: filepath.Join(r.dir, "pcap"), firm: firm, mem: memory, cpu: plainCPU, sku: "standard", product: "Node",
		serial: r.name + "-" + name, note: r.note, uuid: fmt.Sprintf("0bad77cd-0000-4000-8000-52540000%02x%02x", r.number, number),
		mac: fmt.Sprintf("02:%02x:%02x:00:00", number, r.number), life: make(chan struct{}, 1)}
	n.disk = filepath.Join(n.dir, "disk")
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.nodes[name] = n
	r.t.Cleanup(func() { n.power(false) })
	return n
}

// plug cables a port of a switch, whose number is the last byte of its MAC.
func (n *node) plug(r *labRack, number int, to string, boots bool) {
	name := fmt.Sprintf("swp%d", number)
	if number == 0 {
		name = "eth0"
	}
	n.attach(r, name, to, number, boots)
}

func (n *node) attach(r *labRack, name, to string, number int, boots bool) {
	n.nics = append(n.nics, port{mac: fmt.Sprintf("%s:%02x", n.mac, number), name: name, own: r.cable(n.name + "." + name), other: r.cable(to), boots: boots})
}

// blank gives a machine an empty disk.
func (r *labRack) blank(n *node, size int64) {
	f, err := os.Create(n.disk)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// site writes what the operator has: rack file, inventory, platforms.
func (r *labRack) site() {
	const from = "testdata/rack/"
	to := filepath.Join(r.dir, "site")
	if out, err := exec.Command("cp", "-r", from+r.layout.file, from+"platforms", to).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	r.file = filepath.Join(to, r.layout.file)
	var b strings.Builder
	b.WriteString("slot,mac,serial\n")
	for _, name := range r.devices() {
		n := r.nodes[name]
		macs := []string{n.nics[0].mac}
		if strings.HasPrefix(name, "server") {
			macs = append(macs, n.nics[1].mac)
		}
		fmt.Fprintf(&b, "%s,%s,SN-%s\n", name, strings.Join(macs, " "), n.serial)
	}
	inventory := strings.TrimSuffix(r.file, ".yaml") + ".csv"
	if err := os.WriteFile(inventory, []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
}
