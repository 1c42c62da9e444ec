// Package messages holds the protobuf messages of rackreach and the only
// mapping between them and the core's events, and from there to JSON lines.
//
// Who sends what to whom:
//
//   - DeviceSeen: the DHCPActor, the boot services and the scans publish it on
//     the event stream of the agent's process; Agent journals it as "observed".
//   - Event: the journal's record; everything that is announced about a run.
//   - ConnectRequest, ConnectResponse, Order: between the agent of a rack and a
//     coordinator (internal/bus); the first says hello.
//
// Everything but convert.go, order.go and this file is generated from proto/ by
// `make generate`.
package messages
