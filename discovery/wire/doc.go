// Package wire carries DHCP messages between the engine and the network, many at
// a time. It knows nothing of what they say.
//
// # Usage
//
// [Open] makes an [Interface] of one network interface, which nothing else on this
// machine may serve at the same time; [Over] makes a wire of any connection.
// [Inspect] says what is known of an interface, and [Link.Unfit] what speaks against
// serving DHCP there. [OpenTap] listens to frames and sends none.
//
// # Concurrency
//
// One goroutine may read while another writes; Close ends both.
//
// # Platforms
//
// Interfaces and taps are Linux's. On other systems they can be named, and opening
// one fails with [ErrLinuxOnly].
package wire
