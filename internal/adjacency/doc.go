// Package adjacency reads what switches print of their ports: neighbours by LLDP, and
// the stations of their MAC tables, each in the format of one program.
//
// # Formats
//
// Names of formats stand in platform files. Each has its source:
//
//   - lldpctl-json: `lldpctl -f json` and `-f json0` of lldpd 1.0.16, as it printed them.
//   - bridge-json: `bridge -j fdb show` of iproute2 6.1, as it printed it.
//   - sonic-lldp, sonic-mac: `show lldp table` and `show mac`, by the examples in the
//     scripts lldpshow and fdbshow of sonic-utilities.
//   - eos-lldp-json, eos-mac-json: `show lldp neighbors detail | json` and `show mac
//     address-table | json`, by what programs for Arista EOS read of them.
//
// # Trust
//
// What is read is hostile. Text and rows are bounded; what is kept is one printable line,
// or a MAC. Of what cannot be understood nothing is made up.
package adjacency
