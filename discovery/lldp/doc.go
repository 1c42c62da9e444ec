// Package lldp hears what the switch at the other end of our cable says of itself
// (IEEE 802.1AB), and compares it with the rack file: where are we plugged in?
//
// [Parse] reads a frame, [Compare] judges it, and both are pure; [Listen] runs on
// the caller's goroutine until its context ends. Nothing is ever sent.
//
// The format is read here and not by a library: the only small one knows nothing of
// the zeros that fill up a short frame.
//
// A frame is a stranger's: its length, its fields and the text taken from it are
// bounded, and the text is escaped.
package lldp
