package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/rackreach/rackreach/internal/rack"
)

// What every simulated machine has: small things, the same each time.
const (
	simThreads      = 16
	simMemory       = 64 << 30  // bytes
	simServerDisk   = 480 << 30 // bytes
	simSwitchDisk   = 16 << 30  // bytes
	simDiskBlock    = 512       // bytes
	simNICMegabits  = 10000
	simHardwareName = "Simulated Machine"
)

// hardware is what an installer finds: the body of POST /hardware/TOKEN.
type hardware struct {
	UUID     string         `json:"uuid"`
	Serial   string         `json:"serial"`
	Vendor   string         `json:"vendor"`
	Model    string         `json:"model"`
	Firmware string         `json:"firmware"`
	CPU      string         `json:"cpu"`
	Threads  int            `json:"threads"`
	Memory   int64          `json:"memory"`
	Disks    []hardwareDisk `json:"disks"`
	NICs     []hardwareNIC  `json:"nics"`
}

type hardwareDisk struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Block  int64  `json:"block"`
	Serial string `json:"serial"`
	Model  string `json:"model"`
}

type hardwareNIC struct {
	Name   string `json:"name"`
	MAC    string `json:"mac"`
	Link   bool   `json:"link"`
	Speed  int    `json:"speed"`
	Driver string `json:"driver"`
}

// tellHardware says once what the machine has; that it was not heard harms nobody.
func (d *device) tellHardware(ctx context.Context, e *end, url string) {
	g := d.guid
	x := hardware{UUID: fmt.Sprintf("%x-%x-%x-%x-%x", g[:4], g[4:6], g[6:8], g[8:10], g[10:]), Serial: d.serial, Vendor: "rackreach", Model: simHardwareName, Firmware: "uefi",
		CPU: "Simulated CPU", Threads: simThreads, Memory: simMemory,
		Disks: []hardwareDisk{{Path: "/dev/sda", Size: simServerDisk, Block: simDiskBlock, Serial: d.serial + "-0", Model: "Simulated Disk"}}}
	if d.spec.Role != rack.Server {
		x.Disks[0].Size = simSwitchDisk
	}
	for i, n := range d.nics {
		x.NICs = append(x.NICs, hardwareNIC{Name: fmt.Sprintf("eth%d", i), MAC: n.mac.String(), Link: true, Speed: simNICMegabits, Driver: "sim"})
	}
	body, err := json.Marshal(x)
	if err != nil {
		d.sim.fail(fmt.Errorf("the hardware of %s: %w", d.spec.Name, err))
		return
	}
	if _, err := d.request(ctx, e, http.MethodPost, url, body, http.StatusNoContent); err != nil {
		return // an agent that does not listen
	}
}
