// Package fleetlog is the log of record of a fleet, the queue of orders to its
// agents, and small tables that its coordinators share. It is NATS JetStream:
// embedded in the coordinator, or an existing cluster (servers from 2.12 on write
// many racks at once; older ones one message at a time).
//
// # What is promised
//
//   - An event that Append returned is durable. The embedded server syncs its files
//     before it acknowledges (SyncAlways). Of a cluster most servers hold it; whether
//     these have synced is each server's own setting, sync_interval, which no client
//     can ask for: without "sync_interval: always" a power cut of most servers at
//     once may lose the last two minutes.
//   - The events of a rack stand in the log once, in their order, without a gap.
//   - Only the newest epoch of a rack can write. To claim an epoch is to write to
//     the subject of the rack, and every write names the message before it.
//   - An order is kept until it is answered; one id is kept once until then. An
//     order that is given again after its answer is kept again: that it was
//     answered stands among the rack's events, and who follows these drops it.
//   - A store that has lost something is not opened, or not read past the place
//     (ErrDamaged). Nothing that the log acknowledged before it was closed can be
//     missing without a word; after a crash this holds up to its last opening.
//   - A full disk is an error. The embedded server writes nothing more then, until
//     it is opened again.
//
// # How
//
// One message carries a batch of a rack's events. Its headers say whose epoch, which
// events, and the sum of the last, so that the newest message of a rack says where
// the rack stands. Messages of many racks that wait at the same time are stored as
// one atomic batch, which costs about as many syncs as one message; each keeps its
// own condition.
//
// # Concurrency
//
// All methods may be called from any goroutine, and by several coordinators.
package fleetlog
