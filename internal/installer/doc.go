// Package installer writes a disk image on a disk, and never on a disk that its job
// does not mean.
//
// # Usage
//
// Run does all of a job: fetch it, choose the disk, look at what it holds, write,
// check, report. cmd/rackreach-init is its only user; what needs a kernel (mounting,
// the firmware's boot entries) is handed in.
//
// # What keeps data safe
//
//   - [Choose] takes a disk only when exactly one fits the job's rule.
//   - The disk is opened exclusively: one that is mounted or part of an array is not.
//   - [Inspect] reads what the disk holds, [Judge] compares it with what the job
//     names. A disk counts as blank only when its first and last bytes and samples
//     in between are blank, and a small one only when all of it is: data that nobody here knows is foreign too.
//   - A receipt is on the disk before the first byte of the image is, and says so.
//     One that says "installed" is written last, after everything was read back.
//   - A frame is checked as it came, before it is unpacked and written; its raw bytes are
//     checked as the disk gives them back, every one of them. There is no third digest:
//     see docs/adr/0019.
//   - The first MiB of the image (partition table, boot code) is written last: a disk
//     that is written in part does not boot.
//
// # Where the receipt is
//
// In the last block before the last MiB of the disk, which the image must leave
// free ([Reserve]), and, where the image has nothing there, once more in the last
// block before byte 1 MiB, which partition tables leave free: a system that takes the
// end of the disk for itself leaves that one. Both name the disk by its serial number,
// and the partition table that was written: on another disk, or beside another table,
// they are foreign data.
//
// # Bounds
//
// Memory: [Options.Memory], for frames in flight: each takes its compressed and its raw
// bytes and 3 MiB; one always is. A connection that gives no byte for stallLimit is
// replaced; when none gives one for [Options.Patience], the job has failed.
package installer

import "time"

// Sizes, in bytes.
const (
	// page is the alignment of all buffers, and of what is written where a disk does
	// not ask for more: the largest logical block of disks today.
	page = 4096
	// head is what is written last.
	head = 1 << 20
	// Reserve is what an image must leave free at the end of a disk: the receipt
	// before the last MiB, and in that the copy of the partition table.
	Reserve = 2 << 20
	// DefaultMemory is for frames in flight when nothing else is said.
	DefaultMemory = 256 << 20
)

// Bounds of a transfer.
const (
	// maxWorkers bounds the connections: enough to fill 10 Gb/s at 1 ms, and to have
	// eight at the disk while others fetch and unpack. What does not compress at all, in
	// frames of the default size, takes 228 MiB then.
	maxWorkers = 12
	// lookers is how many samples of a disk are read at once.
	lookers = 8
	// stallLimit is how long a connection may give nothing.
	stallLimit = 20 * time.Second
	// DefaultPatience is how long all of them may.
	DefaultPatience = 15 * time.Minute
	// fetchAgain is how often a frame that came damaged is fetched again: damage on
	// the way goes away, damage at the agent does not.
	fetchAgain = 2
	// backoffFirst and backoffMost are the waits between connections that fail.
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 10 * time.Second
)
