package actors

import (
	"errors"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// onie asks for an address, again and again, until it has found an installer.
func (w *world) onie(d *rack.Device) {
	w.mu.Lock()
	over := w.writing[d.Name] || w.imaged[d.Name]
	w.mu.Unlock()
	if !over {
		w.dhcp(d.Name, rack.DHCPONIE, rack.StageONIE, d.Management)
		w.later(time.Minute, func() { w.onie(d) })
	}
}

// offer is what the devices do with a ticket: they fetch, write, report.
func (w *world) offer(life int, o Offer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if life != w.life || w.alive.Err() != nil {
		return
	}
	clear(w.open)
	for _, t := range o.Tickets {
		if t.Delivered {
			w.delivered[t.ID] = true
		}
		w.open[t.ID] = t.Open
		if w.tickets[t.ID] || !t.Open {
			continue
		}
		w.tickets[t.ID] = true
		d, _ := w.rack.Device(t.Device)
		w.later(2*time.Minute, func() { w.install(t, d) })
	}
	select {
	case <-w.up:
	default:
		close(w.up)
	}
}

// fetch begins an installation, if its ticket is served.
func (w *world) fetch(t Ticket) bool {
	if _, _, _, ok := w.agentUp(); !ok {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open[t.ID] || w.delivered[t.ID] {
		return false
	}
	if w.imaged[t.Device] || w.writing[t.Device] {
		w.t.Errorf("%s was installed already, and is again under ticket %s", t.Device, t.ID)
	}
	w.writing[t.Device] = true
	return true
}

func (w *world) install(t Ticket, d *rack.Device) {
	if !w.fetch(t) {
		return
	}
	onie := d.Role == rack.ToRSwitch || d.Role == rack.InterRackSwitch
	if !onie {
		w.publish(rack.Observation{Source: rack.FromTFTP, Device: d.Name, Proves: rack.FetchedBootLoader})
	}
	w.later(time.Minute, func() { w.publish(rack.Observation{Source: rack.FromHTTP, Device: d.Name, Proves: rack.FetchedImage}) })
	w.later(5*time.Minute, func() {
		failed := w.broken(d.Name + " install")
		w.mu.Lock()
		w.writing[d.Name] = false
		w.mu.Unlock()
		if onie {
			if failed {
				w.onie(d)
				// An agent that does not know that the image went out serves it again.
				w.later(2*time.Minute, func() { w.install(t, d) })
				return
			}
			w.installed(d.Name)
			w.firstBoot(d, rack.DHCPNOS, rack.StageNOS, d.Management)
			return
		}
		proves := rack.ReportedInstalled
		if failed {
			proves = rack.ReportedFailed
		} else {
			w.installed(d.Name)
		}
		if !w.report(t, rack.Observation{Source: rack.FromHTTP, Device: d.Name, Proves: proves, Message: "disk broken"}) || failed {
			return
		}
		w.later(time.Minute, func() {
			if d.Role == rack.Server {
				w.firstBoot(d, rack.DHCPOS, rack.StageOS, d.Data...)
			} else {
				w.firstBoot(d, rack.DHCPNOS, rack.StageNOS, rack.Port{})
			}
		})
	})
}

// firstBoot is the first boot of an installed system: it asks for an address once.
func (w *world) firstBoot(d *rack.Device, e rack.Evidence, stage rack.Stage, vias ...rack.Port) {
	w.mu.Lock()
	w.running[d.Name] = true
	w.mu.Unlock()
	for _, p := range vias {
		w.dhcp(d.Name, e, stage, p)
	}
}

// report says how an installation ended until an agent has taken it in, or says
// that it knows already. It reports false when the world ends before.
func (w *world) report(t Ticket, o rack.Observation) bool {
	for {
		system, pid, alive, ok := w.agentUp()
		if !ok {
			return false
		}
		_, err := Ask[Reported](alive, system, pid, &Report{Ticket: t.ID, Observation: o})
		switch {
		case err == nil, errors.Is(err, ErrTicketClosed):
			return true
		}
	}
}

func (w *world) installed(device string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.served = append(w.served, device)
	w.imaged[device] = true
}
