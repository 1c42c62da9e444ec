// Package discovery is the DHCP engine of the agent, without actors: it answers
// those components that the rack file knows, and says what it saw.
//
// # Usage
//
// The owner builds a [Server] over a [Wire] that it has opened, and runs
// [Server.Serve]. Answers come from a [Table], which is immutable: the owner
// swaps the whole table and the next packet sees the new one. Addresses that were
// acknowledged are kept in a lease store (discovery/lease), which the owner opens
// before and closes after Serve.
//
// # A batch, and a group
//
// As many packets as there are, at most 64, are read together. All are decided; what
// was seen goes to Options.OnSeen, and the answers leave in one write. Those that rest
// on a lease wait in a group: their leases are made durable in one commit beside the
// loop, and then they are told of and leave. An acknowledgement whose lease is not
// durable does not leave, and proves nothing.
//
// # Who is answered
//
// A component that the table does not know, or that could be several slots, is
// met with silence and reported; so is a client of another server. The address is
// the entry's own, else one of its pool. A stranger is answered only where the
// table has a pool for it.
//
// # Concurrency
//
// The caller of Serve reads and decides; a goroutine that ends with Serve commits.
// Under one lock they decide, tell and send, so that Options' functions are called one
// after the other; the lock is free while the disk is busy. The socket's own buffer is
// the queue; at most mostWaiting acknowledgements wait besides.
//
// # Hostile input
//
// Every byte comes from a stranger. A packet is at most MaxPacket bytes; all
// strings taken from it are at most classify.MaxString printable ASCII characters, the
// rest escaped; a panic costs one packet and is counted.
//
// # Reading order
//
//   - server.go, batch.go: Options, New, the loop
//   - group.go, pace.go: what waits for the disk; how fast answers leave
//   - table.go: what the engine asks its owner
//   - packet.go, relay.go: reading a packet, RFC 2131 and option 82
//   - package relay: which port a relay means
//   - package classify: which strings mean which boot stage
//   - answer.go, proxy.go: the decisions, RFC 2131 section 4.3
//   - package lease: who has which address
//   - package reply: the bytes of an answer
//   - look.go: what a packet says, for whoever only looks
//   - seen.go: what is reported
//
// The conformance checklist is docs/dhcp.md; its lines are the tests TestLine01 to
// TestLine44.
package discovery
