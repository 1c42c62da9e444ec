// Package reply builds the bytes of DHCP answers: what each kind of client must be
// told (RFC 2131 section 4.3.1, and the habits of firmware, installers and network
// operating systems), in which order, within which length.
//
// It decides nothing about addresses: the engine hands it an [Entry], what it knows
// of the [Client], and a [Message] that says what to answer.
//
// # How an answer is built
//
// Values and headers are made by insomniacslk/dhcp. The options are then written in
// the client's own order (RFC 2132 section 9.8), with what must be there first and
// option 82 last, and left out one by one where the client takes no longer message;
// the library would sort them and knows no limit. An answer that has no need to
// leave anything out is kept as a template, and the next client of the same kind
// gets a copy with its own addresses in it. [Builder] holds a bounded number of them.
// A fuzz test holds copies equal to what the library makes of the same message.
//
// # Families
//
// One file for each kind of client: pxe.go, httpboot.go, ipxe.go, proxy.go, onie.go,
// sonic.go, cumulus.go, eos.go, nxos.go, junos.go. Each says what it sends
// and whose source code or document says so (protocol facts §2).
//
// A Builder is used by one goroutine.
package reply
