package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rackreach/rackreach/internal/rack"
)

// HandleFailure implements actor.SupervisorStrategy: a failed DHCPActor comes
// back, a failed RackSupervisor ends the imaging of the rack at this point.
func (a *Agent) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, rs *actor.RestartStatistics, reason, message any) {
	if slot(child) == dhcpName {
		a.o.Logger.Warn("DHCP service failed and is started again; devices wait meanwhile", "error", fmt.Sprintf("%.300v", reason))
		a.o.Supervision.DHCP.HandleFailure(system, supervisor, child, rs, reason, message)
		return
	}
	a.pool.drain()
	if a.deadline != nil || a.closing { // it drains already, and what failed first stays to blame; or it has ended
		a.o.Supervision.Rack.HandleFailure(system, supervisor, child, rs, reason, message)
		return
	}
	fault := faultOf("", reason)
	a.drain(fault.Device, fault.Err.Error())
	a.o.Supervision.Rack.HandleFailure(system, supervisor, child, rs, reason, message)
}

// drain journals that the rack is being halted, and by what. The caller sees to
// it that the RackSupervisor stops.
func (a *Agent) drain(blamed, cause string) {
	e := a.event(rack.RackDraining, rack.Detail{Error: cause,
		Reason: "no new ticket, power or configuration command; what is being installed is served to its end"})
	if dev, ok := a.o.Rack.Device(blamed); ok {
		e.Device, e.Role = dev.Name, dev.Role
	}
	a.journal(e)
	a.armDrainLimit()
}

// armDrainLimit bounds how long what is in flight is waited for.
func (a *Agent) armDrainLimit() {
	var limit time.Duration
	for i := range a.o.Rack.Devices {
		limit = max(limit, a.run.DrainLimit(a.o.Rack.Devices[i].Name))
	}
	system, self := a.system, a.self
	a.deadline = time.AfterFunc(limit, func() { system.Root.Send(self, &drainLimit{}) })
}

// drained journals the halt once nothing is in flight any more, or when the
// time for it is up.
func (a *Agent) drained(timeUp bool) {
	if a.run.Status != rack.Draining || a.closing || a.supervisor != nil {
		return
	}
	open := a.run.OpenTickets()
	if !timeUp && (len(open) > 0 || !a.pool.idle()) {
		return
	}
	a.closing = true
	ready, failed := a.run.Tally()
	e := a.event(rack.RackHalted, rack.Detail{Error: a.run.Cause, Ready: ready, Failed: failed})
	if len(open) > 0 {
		e.Detail.Reason = fmt.Sprintf("%v did not finish in time and may still be writing", open)
	}
	if dev, ok := a.o.Rack.Device(a.run.Blamed); ok {
		e.Device, e.Role = dev.Name, dev.Role
	}
	a.journal(e)
}
