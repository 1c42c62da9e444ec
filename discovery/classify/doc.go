// Package classify says what the vendor strings of a DHCP packet mean: what its
// sender is, in which boot stage, and what else it says of itself.
//
// # Usage
//
// [Default] is the rules that rackreach comes with, [Load] puts those of a user's
// file before them. [Rules.Classify] decides about one packet, [Rules.Explain]
// says how. Rules are data (rules/*.yaml); docs/discovery.md tells how they are
// written.
//
// # Concurrency
//
// Rules are made once and never change. Everything here is pure and may be called
// from anywhere.
//
// # Hostile input
//
// Every byte of a packet comes from a stranger: strings are at most MaxString
// printable ASCII characters, the rest escaped, and a decision takes time linear
// in the packet. A rules file is bounded by MaxFileSize and MaxRules; anchors and
// aliases are refused.
//
// # Reading order
//
//   - classify.go: Class, Rules, the decision
//   - view.go, option.go: the values of a packet that rules look at
//   - condition.go, pattern.go: what a rule demands of a value and takes from it
//   - file.go, file_condition.go: a rules file, each problem with its line
//   - shadow.go: rules that can never say anything
//   - load.go: the embedded rules and the user's
//   - explain.go, sent.go: how a decision came about, and what the packet said
package classify
