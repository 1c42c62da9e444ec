// Package job is what an agent and the installer on a machine say to each other:
// the job, the reports of the hardware and of the progress, and how the job ended.
//
// # Usage
//
// The agent marshals a [Job]; the installer reads it with [Parse], which knows
// where it came from. [Hardware] and [Progress] go the other way: the agent reads
// them with ParseHardware and ParseProgress.
//
// # What is believed
//
// A job is read strictly: a key that this installer does not know could be a bound
// that it would not keep. All its URLs lead to where the job came from. What an
// installer says is a stranger's: it is bounded, and its text is made printable.
package job

// Bounds.
const (
	// MaxJob, MaxHardware and MaxProgress bound each message, in bytes.
	MaxJob      = 256 << 10
	MaxHardware = 64 << 10
	MaxProgress = 4 << 10
	// MaxProblems bounds how many an installer tells of.
	MaxProblems = 32

	maxName     = 255       // bytes of a name, a path, a serial number
	maxURL      = 1 << 10   // bytes
	maxHolds    = 200       // bytes of what a disk holds
	maxFiles    = 32        // files that a job writes
	maxContents = 128 << 10 // bytes of all of them
	maxDepth    = 8         // nesting of a message's JSON

	maxDisks, maxNICs, maxNeighbours = 128, 64, 64
	maxText                          = 120 // bytes of a text of an installer
)

// MaxRaw bounds an image, in bytes; far more than internal/frames can hold of one.
const MaxRaw = 1 << 50
