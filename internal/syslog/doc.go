// Package syslog receives what devices log over the network while they install:
// ONIE sends all of its console there (option 7 of DHCP), installers can be told
// to.
//
// # Usage
//
// New, then Serve until its context ends. Options.Device says whose address a
// packet came from; lines of nobody are counted and forgotten. Options.Line gets
// the others.
//
// # What is understood
//
// RFC 5424 and the form that RFC 3164 describes, and what devices make of it:
// without a time, without a host, without a priority. Of a line its severity, its
// tag and its text are kept, printable, on one line and bounded. Times and host
// names are the sender's own idea and are left out: who it was tells its address,
// and when, the clock of who received it. A library for either RFC would refuse
// half of what busybox sends.
//
// A sender's address is not proof: who is on the segment can forge it. Lines are
// shown. A platform may wait for one, as a milestone between two others: nothing is
// wiped, and no device is ready, by a line alone.
//
// # Concurrency
//
// Options.Device and Options.Line are called from one goroutine, that of Serve.
//
// # Bounds
//
// The length of a line, the lines of a device and of all of them in a second: named
// in limits.go. A line that its device sent a moment ago is dropped: ONIE goes
// round in circles.
package syslog
