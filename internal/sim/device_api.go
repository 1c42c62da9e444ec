package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

const (
	maxConfig = 256 << 10 // bytes
	maxPorts  = 1024      // of a configuration
	maxOrder  = 4 << 10   // bytes of an order to boot the installer
)

// receipt is what a device keeps of the last job and configuration.
type receipt struct {
	Rack   string `json:"rack"`
	Device string `json:"device"`
	Run    string `json:"run"`
	Ticket string `json:"ticket"`
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Config string `json:"config"`
	State  string `json:"state"`
}

// configuration is what the agent pushes.
type configuration struct {
	Rack   string       `json:"rack"`
	Device string       `json:"device"`
	Run    string       `json:"run"`
	Ticket string       `json:"ticket"`
	VLAN   int          `json:"vlan"` // that the system is managed in; any but homeVLAN and 0 cuts it off
	Ports  []configPort `json:"ports"`
}

// configPort is one between which a switch forwards.
type configPort struct {
	Name string `json:"name"`
}

// cutsOff reports whether nobody reaches a system that has the configuration.
func (c *configuration) cutsOff() bool { return c.VLAN != 0 && c.VLAN != homeVLAN }

func parseConfig(b []byte) (configuration, error) {
	var c configuration
	if text, ok := bytes.CutPrefix(b, []byte("#!/bin/sh\n")); ok {
		c = parseSwitch(string(text))
	} else if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("the configuration is not JSON: %w", err)
	}
	if c.Device == "" || c.Rack == "" {
		return c, errors.New("the configuration names no rack and device")
	}
	if len(c.Ports) > maxPorts {
		return c, fmt.Errorf("the configuration has %d ports, more than %d", len(c.Ports), maxPorts)
	}
	return c, nil
}

func portsOf(config []byte) ([]string, error) {
	c, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	ports := make([]string, len(c.Ports))
	for i, p := range c.Ports {
		ports[i] = p.Name
	}
	return ports, nil
}

// api is the device's management API.
func (y *system) api(address netip.Addr, id identity) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /rackreach/config", func(w http.ResponseWriter, q *http.Request) { y.configure(w, q, address, id) })
	mux.HandleFunc("GET /rackreach/receipt", y.showReceipt)
	if y.host.dev.spec.Role.IsSwitch() {
		mux.HandleFunc("GET /rackreach/mac-table", y.showStations)
		mux.HandleFunc("GET /rackreach/neighbours", y.showNeighbours)
	}
	if y.host.dev.onie {
		mux.HandleFunc("POST /rackreach/installer", y.bootInstaller)
	}
	return mux
}

// bootInstaller sends a switch back into ONIE, if whoever asks knows what is
// lost by it.
func (y *system) bootInstaller(w http.ResponseWriter, q *http.Request) {
	d := y.host.dev
	var order struct {
		Holds string `json:"holds"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxOrder)).Decode(&order); err != nil {
		http.Error(w, `write {"holds":"receipt:RUN/TICKET"}: `+err.Error(), http.StatusBadRequest)
		return
	}
	if x := y.host.readDisk(); order.Holds != x.receipt.holds() {
		http.Error(w, "this switch holds "+x.receipt.holds()+", which the order does not name: nothing was done", http.StatusConflict)
		return
	}
	y.host.chooseInstaller()
	defer y.stop()
	w.WriteHeader(http.StatusNoContent)
	if http.NewResponseController(w).Flush() != nil {
		return
	}
	// Until the answer has arrived and the agent hangs up: the reboot resets this
	// connection.
	hangUp, cancel := context.WithTimeout(q.Context(), d.sim.tempo.scaled(rebootWait, floorNet))
	defer cancel()
	<-hangUp.Done()
}

func (y *system) configure(w http.ResponseWriter, q *http.Request, address netip.Addr, id identity) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxConfig))
	if err != nil {
		http.Error(w, "read the configuration: "+err.Error(), http.StatusBadRequest)
		return
	}
	switch err := y.commit(q.Context(), body, address, id); {
	case errors.Is(err, errSilent):
		panic(http.ErrAbortHandler) // net/http closes the connection without an answer
	case errors.Is(err, errConfig):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

var (
	errSilent = errors.New("no answer")                      // of a system
	errConfig = errors.New("this is no configuration of it") // of the agent's
)

// commit puts a configuration in force, or fails as it was told to. ctx is that of
// whoever waits for it.
func (y *system) commit(ctx context.Context, body []byte, address netip.Addr, id identity) error {
	d := y.host.dev
	if d.take(rack.Configuration, FaultHang) {
		select {
		case <-ctx.Done(): // the agent gave up
		case <-y.ctx.Done():
		}
		return errSilent
	}
	if d.take(rack.Configuration, FaultError) {
		return errors.New("commit failed: no space left on device (injected)")
	}
	c, err := parseConfig(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	if pause(y.ctx, d.sim.tempo.around(applyConfig, d.spec.Name, "config", 0)) != nil {
		return errSilent // going down
	}
	return y.apply(body, c, address, id)
}

// apply puts a configuration in force and keeps it across reboots.
func (y *system) apply(body []byte, c configuration, address netip.Addr, id identity) error {
	d := y.host.dev
	sum := sha256.Sum256(body)
	y.host.writeDisk(func(x *disk) {
		x.config = body
		x.receipt.Config = hexOf(sum[:])
		if d.onie { // an ONIE installer knows no job: the configuration says whose it is
			x.receipt.Rack, x.receipt.Device, x.receipt.Run, x.receipt.Ticket = c.Rack, c.Device, c.Run, c.Ticket
		}
	})
	d.sim.record.add(kindConfigApplied, d.spec.Name, nil, detail{"digest": hexOf(sum[:])})
	if !d.spec.Role.IsSwitch() {
		return nil
	}
	ports, err := portsOf(body)
	if err != nil {
		return err
	}
	d.sim.fabric.forward(d.spec.Name, ports)
	y.once.Do(func() {
		for _, e := range d.ups {
			y.show(e, address, id)
		}
	})
	return nil
}

func (y *system) showReceipt(w http.ResponseWriter, _ *http.Request) {
	r := y.host.readDisk().receipt
	if r.Config != "" && y.host.dev.lies() {
		r.Config = "sha256:" + strings.Repeat("0", 64)
	} else if r.Config != "" {
		y.host.dev.sim.record.add(kindReceiptRead, y.host.dev.spec.Name, nil, detail{"config": r.Config, "digest": r.Digest})
	}
	y.answer(w, r)
}

func (y *system) showStations(w http.ResponseWriter, _ *http.Request) {
	rows := []map[string]string{}
	for _, h := range y.host.dev.sim.fabric.stations(y.host.dev.spec.Name) {
		rows = append(rows, map[string]string{"port": h.port, "mac": h.mac})
	}
	y.answer(w, rows)
}

func (y *system) showNeighbours(w http.ResponseWriter, _ *http.Request) {
	y.answer(w, y.host.dev.sim.lldp.neighbours(y.host.dev.spec.Name))
}

func (y *system) answer(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if _, err := w.Write(b); err != nil {
		return // the agent went away
	}
}
