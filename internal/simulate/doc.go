// Package simulate images racks in virtual time: the core of internal/rack in a
// discrete-event loop, with durations and failures drawn from tables. It answers
// how long a rack takes, what goes wrong, and which devices decide the time.
//
// # What is the same as in a real run
//
// The decisions: rack.Machine, rack.Run, rack.OnFailure, the gates, tickets,
// limits and retries, the discovery deadline, draining. A simulated rack writes
// the events that a real one would journal, in an order that a real one allows.
// The shells of package actors are replaced by one loop per rack (simulation.go,
// device.go); the hardware is replaced by world.go.
//
// # What is an estimate
//
// Every duration and every probability: table.go and faulttable.go hold them as
// data, each with its source and a mark. A rack is taken to be powered on at the
// moment its imaging starts. Panics in the code that drives devices, a failing
// DHCP service and switches that fail after they were ready are not simulated.
//
// # Determinism
//
// Each rack has a generator of its own, made of Options.Seed and its number, and
// is simulated by one goroutine; results are put together in the order of the
// numbers. The same options give the same bytes, whatever Workers is.
//
// # Concurrency
//
// Run and Forecast start Options.Workers goroutines and wait for all of them.
package simulate
