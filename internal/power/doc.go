// Package power drives board controllers (BMC) over IPMI 2.0: is one there, who
// is it, boot from the network next time, power on, power cycle.
//
// # Usage
//
// One Client serves a whole agent. Every call opens a session, does its work
// and closes the session again: BMCs hold about four sessions, and a forgotten
// one locks the next caller out for a minute.
//
// # Concurrency
//
// A Client is safe for concurrent use. One BMC has one caller at a time (the
// others wait, as long as their context lets them), and at most MaxSessions
// BMCs are talked to at once. go-ipmi's own client is not safe for concurrent
// commands; it never leaves this package.
//
// # Trust
//
// A BMC is a stranger until its session is up, and may be hostile afterwards.
// guard.go stands between the socket and the library: it lets through only
// datagrams that answer what was asked, with the algorithms that were asked
// for, and, in a session, with a right authentication code and sound padding.
// The library checks neither and would panic on a goroutine of its own.
//
// # Acting once
//
// UDP loses replies. A command that changes power is sent once and never
// repeated blindly: the power state is read back and decides whether anything
// is left to do. Commands are therefore "be off" and "be on", which may be
// repeated, never "cycle", whose lost reply leaves no trace to read back.
package power
