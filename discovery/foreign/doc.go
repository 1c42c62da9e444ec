// Package foreign finds DHCP servers that are not ours.
//
// [Look] listens on an interface for a few seconds before anything is served
// there, and asks; [Watch] goes on listening while it is served. [Judge] is the
// pure part: what one datagram says of a server.
//
// # What is sent
//
// Look broadcasts two DISCOVERs, and the same two once more at half of its time:
// one as any client would send it, and one as a PXE ROM would, since a ProxyDHCP
// server answers nobody else. A server may set an address aside for them, for the
// minute that an offer lasts; it is always the same client (02:72:72 and the end of
// our own MAC), so it is one address however often we look. They are never followed
// by a REQUEST: no lease is taken. The frames leave from the card's own MAC, so
// that no switch sees a second station at our port. Watch sends nothing.
//
// # Concurrency
//
// Look and Watch run on the caller's goroutine, and end soon after their context.
package foreign
