// Package power drives board controllers (BMC) over IPMI 2.0: is one there, who
// is it, where its host boots from, power on and off, the identify light, and what
// about its security somebody ought to know.
//
// # Usage
//
// One Client serves a whole agent; Close ends it. A session that worked is kept for
// the next call and closed when none comes for a while: well before the BMC would
// drop it, so that nothing is sent to keep it alive. BMCs hold about four sessions,
// and a forgotten one locks the next caller out for a minute: Close says farewell to
// all of them.
//
// # Concurrency
//
// A Client is safe for concurrent use. Each BMC has an owner, the only goroutine
// that talks to it; callers hand it their work and wait, as long as their context
// lets them. At most MaxSessions sessions are open at once; the one that was unused
// for longest makes room. go-ipmi's own client is not safe for concurrent commands;
// it never leaves its owner.
//
// # Pace
//
// Two changes of one BMC (boot flags, power) keep a gap: faster ones crash some.
// Questions do not wait for it.
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
// UDP loses replies. A question is repeated as a new command, since a BMC drops a
// sequence number that it has seen. A command that changes power is sent once and
// never repeated blindly: the power state is read back and decides whether anything
// is left to do. Commands are therefore "be off" and "be on", which may be
// repeated, never "cycle", whose lost reply leaves no trace to read back.
//
// # Errors
//
// What passes by itself (ErrSilent, ErrBusy, ErrNotKept) is told from what does not;
// Retryable says so. ErrStuck and ErrOverride are BMCs that accepted and did not do.
// What a call made up for by itself is told as a rack.Recovery, and bounded.
package power
