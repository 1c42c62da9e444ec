// Package lease keeps who has which address, on disk before anybody is told.
//
// # Usage
//
// The DHCP engine decides packets with [Store.Offer], [Store.Bind], [Store.Release] and
// [Store.Decline], which change the store in memory, and then calls [Store.Commit] once
// for many of them. Only after a Commit that began later returned nil may an
// acknowledgement leave (RFC 2131 section 4.3.1). When Commit fails, the store is as it
// was at the last one that did not: nothing was promised, clients ask again, and the next
// Commit tries again.
//
// # Who holds an address
//
// A [Holder] is an end of a slot, such as the management end of tor-1, or a
// stranger by its hardware address. Never a client identifier: the same machine
// sends none in its firmware, 01 and its MAC in iPXE, a DUID in its operating
// system, and two machines that were installed from one image send the same
// (protocol facts §3, line 22). So one machine has one address, whatever stage it
// is in. An address that an installer had elsewhere is taken back when the
// device's system comes up.
//
// # Order of giving out
//
// What the holder has or had; what it asks for, when nobody had it; an address
// that nobody had yet; an address whose offer lapsed; last of all the lease that
// ended longest ago. A declined address is not given out for a hold time.
//
// # On disk
//
// A file of records (file.go), one for each commit, that is read as a whole when it is
// opened; everything is looked up in memory. A commit is one write into room that the
// file has already, and one sync of the disk. When half of what the file holds is
// outdated it is written anew beside the old one, and takes its place.
//
// A database was here before: bbolt syncs twice a commit and writes several pages.
//
// # Concurrency
//
// Every method may be called from any goroutine. Commits come one after the other; the
// disk is written and synced without the lock that the other methods need.
package lease
