// Package relay tells from option 82 (RFC 3046) which port of which switch a request
// came through. Every vendor spells that its own way; the rack file names ports as
// they are printed on the switch. What is read here is matched with the rack's
// cabling, and only one single port that fits is a match: a wrong one would image a
// wrong device.
//
// # Which switch
//
// The switch says its name in the circuit-id or the remote-id, its MAC in the
// remote-id, or is known by the address that it relays from. What it says must not
// contradict itself.
//
// # Which port
//
// The name of an interface is read into its numbers: slot, module, port, channel. A
// port of the rack file fits when it says the same numbers, with or without the
// word before them. One that is a single number also fits the last number of a path
// whose others are the only slot and module that a switch without modules has (0 or
// 1), and the first number of a port whose only lane is 1. VLAN and logical unit do
// not matter. Bundles and management ports fit by their whole name only.
//
// Where a switch numbers lanes and not ports (SONiC's Ethernet4 is its second port),
// the rack file must name ports as the switch does.
package relay
