// Package wire carries DHCP messages between the engine and the network, many at
// a time. It knows nothing of what they say.
package wire
