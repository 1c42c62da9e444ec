package web

import "time"

// Bounds of what a device sends.
const (
	maxHeader   = 64 << 10 // bytes of the head of an answer
	maxAnswer   = 1 << 20  // bytes of its body; a longer one is refused
	maxShown    = 200      // bytes of it in a message
	headerLimit = time.Minute
	tlsLimit    = 30 * time.Second // a management processor computes keys for seconds
)

// minSecret is how many bytes a password has at least that is blacked out: a shorter one
// would black out half of a text.
const minSecret = 4
