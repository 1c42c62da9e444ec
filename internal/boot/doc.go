// Package boot serves what devices install from: iPXE scripts over TFTP, jobs
// and images over HTTP, and it takes their reports.
//
// # Usage
//
// New, then Serve until its context ends. The owner of the tickets, the agent,
// hands over all of them with SetTickets whenever one was issued or closed,
// after the journal has it: bytes are served for open tickets only.
//
// # What is served
//
//	TFTP TOKEN/boot.ipxe     the iPXE script                (internal/tftp)
//	TFTP TOKEN/LOADER        what runs it, for firmware that cannot
//	GET  /loader/TOKEN/FILE  the same for UEFI HTTP boot
//	GET  /job/TOKEN          the job, JSON
//	GET  /image/TOKEN        the image's bytes, with ranges (RFC 9110 §14)
//	GET  /installer/TOKEN/…  kernel and initramfs of the installer of disk images
//	GET  /frames/TOKEN       the index of a disk image's frames
//	POST /hardware/TOKEN     what an installer found in its machine
//	POST /progress/TOKEN     how far it is
//	POST /report/TOKEN       the device's own word on how it ended
//	     /native/TOKEN/…     what an operating system's own installer asks for (native.go)
//
// 403: the ticket is another device's (Options.DeviceAt). 404: no such ticket. 410, for
// reports 409: the ticket is closed. 400: bad input. 503: come again. A token is an HMAC
// of the ticket's id: who does not hold a boot reply cannot guess one.
//
// # Earlier lives
//
// The owner may hand over tickets that it issued before it was started again:
// Ticket.Resumed and Ticket.Delivered say what became of them. Until it has
// handed over the first ones, the answer is 503.
//
// # Concurrency
//
// Everything is safe for concurrent use. Requests read an immutable snapshot of
// the tickets; a transfer that began with an open ticket is served to its end.
//
// # Bounds
//
// Connections, request headers, report bodies, the time a peer
// may take for each, and the ranges remembered of a transfer: named in
// limits.go; those of TFTP in internal/tftp.
package boot
