// Package rackagent is the process that images one rack: it wires the actors to
// the wires. New builds everything from Options, Run serves until the run ends
// or the context does.
//
// Nothing is decided here. The boot table (table.go) is what the DHCP engine
// answers from, the executor (executor.go) what the work pool calls, the metrics
// (metrics.go) are fed from the journal's events.
package rackagent
