// Package inventory is what a rack consists of, as its journal says: one document for
// people and for scripts.
//
// # Usage
//
// Of makes it out of the rack as it is planned and the events of its run; nothing is
// asked of a device. Found is what the journal keeps of hardware, in the events
// hardware-found.
//
// # Trust
//
// Texts of devices were made printable and bounded before they were journalled. Found
// is read strictly enough that a damaged event is passed over, and WriteCSV keeps a text
// from being taken for a formula.
package inventory
