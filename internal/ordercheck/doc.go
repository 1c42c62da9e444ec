// Package ordercheck checks, from the outside, that a rack was imaged in the
// order in which its network opens.
//
// It reads two things only: the rack file and the simulator's own record of what
// really happened on the wires. It shares no code with the product, imports no
// package of it, and reads the rack file and the cabling in its own way, so that
// a mistake of the product cannot hide in its checker.
//
// Check holds two rules at every line of the record:
//
//  1. Nothing behind a switch is touched (a packet, a BMC command, a byte of an
//     image) unless a way of forwarding switches leads there at that moment.
//  2. No server gets a power command, a boot device or a byte of an image before
//     every switch of the rack forwarded and had its receipt read.
//
// CheckOverlap holds a third rule for runs that completed: what may be done in
// parallel is done in parallel.
//
// A record that proves nothing is an error, never a pass: an empty one, one with
// missing lines, one with kinds or devices that are not known.
package ordercheck
