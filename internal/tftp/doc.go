// Package tftp is a read-only TFTP server for boot loaders: RFC 1350 with the
// options of RFC 2347, 2348 (blksize), 2349 (timeout, tsize) and 7440
// (windowsize).
//
// # Usage
//
// New, then Serve on a socket until its context ends. The owner's Open decides
// who gets what: the server itself knows no file system, so there is nothing
// that a name could climb out of.
//
// # Where what is
//
// packet.go reads and writes packets, negotiate.go answers options, transfer.go
// is one transfer as a state machine without clock and socket; server.go and
// run.go are the sockets around it, path_linux.go asks the kernel for the MTU.
//
// # What it does that others leave out
//
// Blocks are at most what the path to the client takes in one frame, also when
// the client asks for more. A window goes to the kernel in one call. Who loses
// a block of a window and says so is sent it again at once; an echo of an
// acknowledgement is no such word (RFC 1123 §4.2.3.1, "Sorcerer's Apprentice").
// The wait for an acknowledgement follows the path, unless the client asked for
// a time-out of its own. The block number rolls over to 0 after 65535.
//
// # Concurrency
//
// One goroutine reads requests, one more runs each transfer.
//
// # Bounds
//
// Transfers at once, in all and for one address; the length of requests, the
// bytes of a window, the time-outs in a row and the time of a transfer: named in
// limits.go.
package tftp
