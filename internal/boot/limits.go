package boot

import "time"

// Bounds of what strangers may take.
const (
	// maxConns bounds open HTTP connections: 64 installers that fetch over eight each,
	// and say how far they are. Further ones wait in the listener's queue.
	maxConns = 640
	// maxPerHost bounds those of one address, so that no device keeps the others out.
	// Further ones are closed.
	maxPerHost = 32
	// maxReport bounds a report's body, in bytes.
	maxReport = 4 << 10
	// maxMessage bounds the device's own words in a report, in bytes.
	maxMessage = 500
	// maxHolds bounds what a report says that the disk holds, in bytes.
	maxHolds = 200
	// MaxSaid bounds a line of what an installer says, in bytes.
	MaxSaid = 300
	// maxHeader bounds a request's header, in bytes.
	maxHeader = 16 << 10
	// maxSpans bounds the disjoint ranges remembered of one transfer. What a
	// device scatters beyond them counts as not served.
	maxSpans = 1024
)

// Times.
const (
	headerLimit = 10 * time.Second // for a request's header
	bodyLimit   = 10 * time.Second // for a request's body
	idleLimit   = 60 * time.Second // between two requests of a connection
	reportLimit = 30 * time.Second // for the owner to make a report durable

	// stallLimit is how long one chunk may take before its receiver counts as
	// gone; with chunkSize it demands about 17 kB/s.
	stallLimit = 60 * time.Second
	// chunkSize is the step in which bytes are handed to a connection, in
	// bytes: the resolution of progress and of the stall limit.
	chunkSize = 1 << 20

	// DefaultDrain is how long transfers in flight may go on after Serve's
	// context has ended.
	DefaultDrain = 10 * time.Second
)
