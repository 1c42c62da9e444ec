// Package ssh configures and verifies installed switches and servers over SSH:
// it writes files, runs commands, and returns what they printed.
//
// # Usage
//
// One Client serves a whole agent. Do opens a connection, writes the files of
// an Exchange, runs its commands in order, and closes the connection. It stops
// at the first thing that fails. An empty Exchange proves the login alone.
//
// # Concurrency
//
// A Client is safe for concurrent use. How many devices are talked to at once
// is bounded by whoever calls. A context that ends closes the connection, and
// with it everything that waits.
//
// # Host keys
//
// The key that a device shows at first contact is pinned, durably, before
// anything secret is sent. It holds for the life of the device: the ticket of
// the installation that it lives by. A device that was imaged anew has another
// life and may have another key; in the same life the key never changes.
//
// # Files
//
// A file goes through the standard input of a shell command into a temporary
// name beside its path, is counted, and is renamed: under its path it is whole
// or not there. That needs sh, cat, wc, chmod, mv and rm, which network
// operating systems have; SFTP, which would be the other way, is often not
// installed or switched off there. The directory of a path must exist.
//
// # Trust
//
// What a device sends is hostile. Banner, prompts, output, and time are
// bounded; what is kept of them is made printable; secrets that a device echoes
// are blacked out. Only algorithms without known weaknesses are spoken.
package ssh
