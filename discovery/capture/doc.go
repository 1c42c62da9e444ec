// Package capture takes DHCP messages out of capture files: pcap and pcapng, of
// Ethernet, of Linux's "any" interface, or of bare IP; with VLAN tags, and from
// clients as well as from relays.
//
// A file is a stranger's. At most MaxBytes of it are read, a record is at most
// MaxRecord bytes, and what the decoders cannot bear costs one packet.
package capture
