// Package classify says what the vendor strings of a DHCP packet mean: in which
// boot stage its sender is, and what it says of itself.
//
// It is pure and may be called from anywhere. Every byte that it reads comes
// from a stranger: strings are at most MaxString printable ASCII characters, the
// rest escaped.
package classify
