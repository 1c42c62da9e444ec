// Package rackagent is the process that keeps one rack.
//
// An Agent is one life of the actors: it wires them to the wires. New builds
// everything from Options, Run serves until the run ends or the context does. The
// boot table (table.go) is what the DHCP engine answers from, the executor
// (executor.go) what the work pool calls, the metrics (metrics.go) are fed from the
// journal's events.
//
// A Keeper is the process that lives on between its runs, one Life after the other
// over one journal (keeper.go). Orders reach it from its own machine (Order) and
// from a coordinator (Obey), at every moment: while it waits for a plan, for its
// wires, while a run is under way, behind its end. Kept is what lies in the state
// directory, and Adopt makes that anew on a machine that takes over a rack.
//
// Nothing about a device is decided here: that is for internal/rack. What is
// decided is who decides: the living actors, or, once they were stopped, the core
// on the journal alone.
//
// # Concurrency
//
// One goroutine begins lives and waits for their end; whoever holds the turn of a
// Keeper may stop one and decide without it. An Order or Obey runs on the caller's
// goroutine; orders with the same id wait for each other.
package rackagent
