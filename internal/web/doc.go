// Package web asks an installed device one thing over HTTP.
//
// # Usage
//
// New, then Do for each request: a method, a path and perhaps a body go to the device's
// address, and the answer must have one of the statuses and show the texts that are
// expected. Redirects are not followed: an answer that leads elsewhere is an answer.
//
// # What is believed
//
// Nobody has signed the certificate of a device that was just installed. The public key
// in it is recorded at first contact and holds for as long as the device lives by the
// same job, as with SSH; Request.Unchecked takes any. A password is sent over TLS only,
// after the key was checked.
//
// # Bounds
//
// What a device sends is read up to limits named in limits.go, and shown printable, on
// one line, shortened, without our password.
//
// # Concurrency
//
// A Client may be used from many goroutines. Each request has a connection of its own.
package web
