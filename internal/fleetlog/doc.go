// Package fleetlog is the log of record of a fleet, the queue of orders to its
// agents, and small tables that its coordinators share. It is NATS JetStream:
// embedded in the coordinator, or an existing cluster.
//
// # What is promised
//
//   - An event that Append returned is durable: the embedded server syncs its file
//     before it acknowledges (SyncAlways); of a cluster a majority holds it, and
//     whether these have synced is the cluster's own setting (sync_interval: always).
//   - The events of a rack stand in the log once, in their order, without a gap.
//   - Only the newest epoch of a rack can write. To claim an epoch is to write to
//     the subject of the rack, and every write names the message before it.
//   - An order is kept until it is answered. One id is kept once.
//
// One message carries a batch of a rack's events. Its headers say whose epoch, which
// events, and the sum of the last, so that the newest message of a rack says where
// the rack stands.
//
// # Concurrency
//
// All methods may be called from any goroutine, and by several coordinators.
package fleetlog
