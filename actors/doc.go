// Package actors drives racks: the actors of an agent, thin shells around the
// pure core of internal/rack.
//
//	Agent ─┬─ DHCPActor
//	       └─ RackSupervisor ── DeviceActor (one per discovered component)
//
// # Who sends what to whom
//
//   - DHCPActor, the boot services and the scans publish messages.DeviceSeen on
//     the event stream; Agent journals it as an observation of a slot.
//   - The journal's tail comes back to Agent in order; Agent applies each event
//     and forwards it to RackSupervisor, which applies it too, spawns
//     DeviceActors, and hands them observations and gates.
//   - Agent asks the ready switches for their neighbours, as long as it lives, also
//     once the run has ended, and journals what changed.
//   - A DeviceActor journals what its machine decides, applies it, and lets the
//     work pool of Agent carry out its commands; results come back as messages
//     with the attempt's number.
//
// Nobody acts on what is not in the journal: decide, journal, apply, act,
// announce. Every kind of event has one writer (internal/rack, event.go).
//
// # Supervision
//
// A device that cannot go on raises a DeviceFault; an unforeseen panic is a bug.
// RackSupervisor and Agent are told of their children's failures, journal them,
// and hand them to the library's strategy that rack.OnFailure asks for
// (supervision.go).
//
// # Bounds
//
// At most seenInFlight observations of strangers wait in Agent's mailbox, at
// most factsPerDevice new facts are journalled per device between two steps, at
// most poolWorkers actions run at once, and at most tailInFlight batches of
// events are on their way to Agent. A MAC table counts as one. What is dropped is counted.
package actors
