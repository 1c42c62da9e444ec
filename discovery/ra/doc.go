// Package ra sends IPv6 router advertisements that say: there is no router here.
//
// iPXE asks for one before it goes on, and waits about 13 s where nobody answers
// (measured), on every boot. An advertisement without prefix, without DHCPv6 and with
// a router lifetime of 0 ends that wait, and gives nobody a route or an address (RFC
// 4861 section 6.2.3: a lifetime of 0 is no default router).
//
// # How often
//
// The first at once, then at random times (RFC 4861 section 6.2.1); a solicitation is
// answered within half a second, but never within 3 s of the advertisement before
// (section 6.2.6): however many ask, nobody is sent more than one in 3 s. All go to
// every node of the link, so that one answers all that asked.
//
// # Concurrency
//
// [Advertiser.Run] has two goroutines: the caller's, which sends, and one that reads.
// Both end with its context.
package ra
