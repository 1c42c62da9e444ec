// Package depot hands out the directory of a bundle over HTTP, file by file and by
// digest, to the agents of many racks.
//
//	GET /oci-layout, /index.json     small files of the layout
//	GET /blobs/sha256/HEX            a blob, with one range (RFC 9110 section 14)
//
// # Concurrency
//
// A Depot is an http.Handler; everything is safe for concurrent use.
//
// # Bounds
//
// At most Options.Transfers blobs are sent at a time, at most Options.PerAgent to one
// agent. The others wait for their turn: agents take turns, however much each asks
// for, and a transfer gives its turn back after each turnBytes. More than
// Options.Waiting are told to come again. So 1,000 agents that ask for one blob read
// its file at few places at a time, which the page cache serves from one reading, and
// what else the port serves does not wait for them. A receiver that takes longer than
// stallLimit for chunkBytes counts as gone.
//
// Over plain HTTP/1 the kernel sends the file; nothing wraps the ResponseWriter.
package depot

import "time"

// Bounds.
const (
	DefaultTransfers = 32   // sent at a time: enough to fill a line when each is slow
	DefaultPerAgent  = 4    // of these
	DefaultWaiting   = 4096 // requests that wait for their turn
	waitMostOfOne    = 256  // of these, of one agent: it asks for a few at a time

	turnBytes  = 64 << 20 // after which a transfer queues again; about a second of a fast line
	chunkBytes = 1 << 20  // for which a receiver may take stallLimit
	stallLimit = time.Minute
	comeAgain  = 5       // seconds, for those that are too many
	maxSmall   = 4 << 20 // bytes of a small file, as readers bound them
)
