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

	// sendBuffer is the send buffer of a connection that is the only one when it is
	// opened, in bytes; the kernel takes twice as much, for its own needs (socket(7)). With
	// the kernel's own bound, which grows with the speed of the path (net.ipv4.tcp_wmem), a
	// goroutine has to wake up more often: one client alone got 0.95 of nginx's throughput
	// so, and 1.00 with this. Sixteen clients do worse with a large one, and keep the
	// kernel's (make bench-images, pairs in turns). A smaller bound costs more: with the
	// 208 KiB that net.core.wmem_max allows on an untouched system one client got 0.55 of
	// nginx's throughput, and a GB took 1.8 times its CPU; TCP_NOTSENT_LOWAT of 256 KiB and
	// 1 MiB cost 1.5 and 1.1 times.
	sendBuffer = 4 << 20

	// unacknowledged is what a device may have of a connection without having said so, in
	// bytes: a receiver acknowledges every second segment at least (RFC 1122 §4.2.3.2), and
	// what offloading makes of segments is 64 KiB long at most.
	unacknowledged = 2 * 64 << 10

	// leastPause and mostPause are between two looks at the queue of a connection whose
	// body was written: short for a device that is about to have it, longer for a slow one.
	leastPause = 200 * time.Microsecond
	mostPause  = 20 * time.Millisecond

	// landLimit bounds how long a device's report waits for what else is on its way to the
	// device: several looks. One that keeps a connection open besides waits no longer.
	landLimit = 500 * time.Millisecond

	// DefaultDrain is how long transfers in flight may go on after Serve's
	// context has ended.
	DefaultDrain = 10 * time.Second
)
