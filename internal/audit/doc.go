// Package audit reads the journal of one rack and says, for people, what it
// proves, why a device is where it is, and what led there.
//
//   - Prove holds every event against the rules of imaging (Rules) and gathers
//     the evidence of each phase of each device.
//   - Why explains one device: what it waits for, what failed, what to do next.
//   - Timeline is the state at a moment, and the events that led to it.
//   - Sentence is one event in plain words.
//
// All of it is pure: no clock, no I/O, nothing but internal/rack below it. Prove
// and Why keep their own books (ledger.go, life.go) and never ask rack.Machine,
// nor rack.Run for its gates: what decided the order must not be the one that
// judges it. Timeline shows what the core itself holds and uses rack.Run.
//
// # Tests
//
// testdata holds journals of simulated racks as `rackreach journal dump` prints
// them. Prove accepts each of them, and refuses each of many changes to them.
package audit
