// Package discovery is the DHCP engine of the agent, without actors: it says
// what a packet's vendor strings mean, and answers those components that the
// rack file knows.
//
// # Usage
//
// The owner builds a [Server] over a net.PacketConn that it has bound, and runs
// [Server.Serve]. Answers come from a [Table], which is immutable: the owner
// swaps the whole table and the next packet sees the new one. What was seen
// goes to Options.OnSeen after the answer was sent, so that evidence such as
// dhcp:onie is never reported for an acknowledgement that did not leave.
//
// # Who is answered
//
// A component that the table does not know, or that could be several slots, is
// met with silence and reported. So is a client of another server. Addresses
// are pre-determined: nothing is allocated, no lease is stored, and a repeated
// packet gets the same answer again.
//
// # Concurrency
//
// One goroutine, the caller of Serve, reads, answers and reports one packet
// after the other; the socket's own buffer is the only queue. Nothing in here
// starts a goroutine that outlives Serve. [Server.Handle] and [classify.Rules.Classify]
// are pure and may be called from anywhere.
//
// # Hostile input
//
// Every byte comes from a stranger. A packet is at most MaxPacket bytes; all
// strings taken from it are at most classify.MaxString printable ASCII characters, the
// rest escaped; a panic costs one packet and is counted.
//
// # Reading order
//
//   - server.go: Options, New, the packet loop
//   - table.go: what the engine asks its owner
//   - packet.go, relay.go: reading a packet, RFC 2131 and option 82
//   - package classify: which strings mean which boot stage
//   - look.go: what a packet says, for whoever only looks
//   - answer.go: the decisions, RFC 2131 section 4.3
//   - reply.go: the bytes of an answer and where they go
//   - seen.go: what is reported
package discovery
