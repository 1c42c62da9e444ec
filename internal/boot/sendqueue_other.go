//go:build !linux

package boot

import "net"

// queued is 0: only on Linux we know how to ask.
func queued(net.Conn) int64 { return 0 }

// widen does nothing: only on Linux we know how.
func widen(net.Conn) {}
