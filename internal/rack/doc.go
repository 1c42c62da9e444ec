// Package rack is the pure core of rackreach: one rack's model and rules, the
// cabling graph, the plan, the machine of one device, the state of a run and
// the failure policy.
//
// It imports nothing but the standard library, holds no clock, does no I/O and
// knows no actors. Time comes in as a field of an input; decisions go out as
// events (facts, in the past tense) and commands (what a shell must do). State
// changes in one place only: Apply of an event. Whoever replays the events of a
// run from its journal therefore holds the same state as the process that
// decided them.
//
// # Reading order
//
//   - rack.go: roles, ports, devices, cables, as the rack file says them
//   - validate.go: what a rack file must not say
//   - cabling.go: which switches stand between the agent and a device
//   - platform.go: how one kind of device is discovered, installed, configured
//   - event.go: everything that can happen in a run
//   - machine.go: the decisions of one device; machine_applied.go: its state
//   - run.go: the state of the whole rack; links.go: links and gates;
//     progress.go
//   - order.go: what an operator may order; order_applied.go: what it does
//   - binding.go: which slot a packet belongs to
//   - policy.go: what a failure means
//   - plan.go: order, waves, hash
package rack
