// Package snmp asks switches for their neighbours and their MAC tables by SNMP version
// 2c: LLDP-MIB (IEEE 802.1AB), Q-BRIDGE-MIB (RFC 4363), BRIDGE-MIB (RFC 4188) and IF-MIB
// (RFC 2863). It only reads.
//
// # Trust
//
// Version 2c sends its community in clear text, and what answers is believed no more than
// that it may contradict a rack file. Answers are bounded in number, size and time; what is
// kept is one printable line, or a MAC.
package snmp
