// Package fleet holds the rules of many racks at once: which rack is begun next,
// how the cables between racks stand, when a fleet is complete, and what racks
// that are joined must not contradict each other in.
//
// # Order
//
// Racks are begun in the order of the fleet, at most Spec.AtOnce at a time, and
// none any more once more than Spec.HaltAfter of them have halted (Next). A rack
// whose agent is away keeps its place; those behind it need not wait for it.
//
// # Backplane
//
// A cable between two racks is named by the links of one rack file, or of both.
// What it is, is judged by both ends (Judge): closed, until the switches at both
// ends are ready; ready, until both say that they hear each other; then open.
// Racks that such cables join form one segment: their addresses must not clash
// (Validate). Racks that nothing joins may have the same addresses.
//
// Like internal/rack this package is pure: no clock, no I/O, no actors.
package fleet
