package tftp

import "time"

// Bounds of what strangers may take.
const (
	// maxRequest is the longest request that is read, in bytes. RFC 1350 knows
	// none; one Ethernet frame holds it.
	maxRequest = 1500
	// maxTransfers bounds the transfers at once: a full rack. Further ones are
	// refused, and the firmware asks again.
	maxTransfers = 64
	// maxPerHost bounds those of one address: a loader that fetches a few files
	// side by side.
	maxPerHost = 8
	// maxWindow bounds a window, in blocks. RFC 7440 §4 measured no gain beyond
	// 64.
	maxWindow = 64
	// maxWindowBytes bounds what one transfer holds in memory, in bytes: that
	// many blocks of an Ethernet frame with jumbo frames.
	maxWindowBytes = 256 << 10
	// maxText bounds a file that is converted for a client that asks for text,
	// in bytes: a script, never a loader.
	maxText = 1 << 20
	// maxSaid bounds what is kept of a client's own words, in bytes.
	maxSaid = 100
)

// Sizes of blocks, in bytes.
const (
	plainBlock    = 512   // without blksize (RFC 1350 §2)
	leastBlock    = 8     // RFC 2348
	greatestBlock = 65464 // RFC 2348
)

// Times.
const (
	// firstWait is the wait for an acknowledgement before anything is known of
	// the path, and the longest one that is learnt of it.
	firstWait = time.Second
	// leastWait keeps the wait above what firmware needs to look at its network
	// card; a block that is sent too early costs a frame, nothing else.
	leastWait = 100 * time.Millisecond
	// mostWait is where the wait stops doubling: a client that takes no further copy
	// of a block, and starts its own 5 s anew with each (atftp 0.8), gets to say again
	// what it has.
	mostWait = 8 * time.Second
	// maxResends is how often in a row something is sent again: with doubled
	// waits a client is gone after 47 s at most, when all firmware has given up.
	maxResends = 7
	// unheardLimit is how long a client may take for its first acknowledgement.
	unheardLimit = 47 * time.Second
	// totalLimit bounds a transfer whatever its client says. A loader of 100 MB
	// passes at 170 kB/s.
	totalLimit = 10 * time.Minute
)

// DefaultDrain is how long transfers may go on after Serve's context has ended.
const DefaultDrain = 10 * time.Second
