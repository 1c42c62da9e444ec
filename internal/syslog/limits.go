package syslog

// Bounds of what devices may send.
const (
	// maxPacket is how much of a packet is read, in bytes (RFC 5424 §6.1 asks for
	// 2048).
	maxPacket = 2048
	// maxText bounds the text of a line, in bytes; maxTag its tag (RFC 3164 §4.1.3
	// has 32, RFC 5424 48).
	maxText = 300
	maxTag  = 48
	// perDevice is how many lines a second of one device are taken, deviceBurst how
	// many at once: an installer says a screenful when a step begins.
	perDevice   = 5
	deviceBurst = 100
	// perRack and rackBurst are the same for all devices together.
	perRack   = 50
	rackBurst = 500
	// perAwaited is how many lines a second of one device are taken that somebody waits
	// for, awaitedBurst how many at once: a device says them once for each attempt.
	perAwaited   = 1
	awaitedBurst = 5
	// repeats is how many lines of a device are remembered, so that they are not
	// told again.
	repeats = 64
)
