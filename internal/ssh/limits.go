package ssh

import "time"

// DefaultLogin is how long connecting and logging in may take together: a
// management processor computes keys for seconds, and a server that asks a name
// server that is not there for our name waits for tens of seconds (OpenSSH's
// UseDNS).
const DefaultLogin = time.Minute

// Bounds of what we send.
const (
	maxCommands = 256
	maxCommand  = 32 << 10 // bytes of a command; a packet holds 256 KiB, a Linux argument 128 KiB
	maxFiles    = 64
	maxContent  = 16 << 20 // bytes of a file
	maxPath     = 1024     // bytes
	maxSecrets  = 64
	maxName     = 255      // bytes of the name of a device or a life
	maxUser     = 255      // bytes
	maxPassword = 1024     // bytes, also of other secrets
	maxPEM      = 64 << 10 // bytes of a private key
	minSecret   = 4        // bytes: a shorter secret would black out half of a text
)

// How often a session is asked for, and how long is waited before the second
// attempt; then twice as long each time, 1.5 s in all.
const (
	openTries = 5
	openPause = 100 * time.Millisecond
)

// Bounds of what a device sends.
const (
	maxBanners = 16               // messages before the login (RFC 4252 §5.4)
	maxBanner  = 64 << 10         // bytes of all of them
	maxRounds  = 4                // of keyboard-interactive questions (RFC 4256 §3.2)
	keptHead   = 48 << 10         // bytes kept of the beginning of an output
	maxKeep    = 1 << 20          // the same where an exchange asks for more
	keptTail   = 16 << 10         // bytes kept of its end
	maxOutput  = 16 << 20         // bytes of an output, after which the command is broken off
	maxQuoted  = 200              // bytes of a device's words in a message
	maxLast    = 5                // last lines of an output in a message
	aliveLimit = 10 * time.Second // for the answer to: are you still there
)

// MaxText is how many bytes the text of an Output has at most, the note about
// what was cut not counted.
const MaxText = keptHead + keptTail
