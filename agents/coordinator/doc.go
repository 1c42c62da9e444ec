// Package coordinator is the process that many racks' agents report to: it keeps
// their events in the log of record, hands operators' orders to them, and serves
// the API of all racks. It wires; the deciding is done in actors and internal/fleet.
//
//	agents ── bus.Door ──► fleetlog ──► Fleet ─► RackProxy (one per rack)
//	                          ▲             │
//	 people ── api ── orders ─┘             └──► orders, back down to the agents
//
// What it shows came out of the log. So it may be killed at any moment, and
// several of them on one NATS cluster show the same.
package coordinator
