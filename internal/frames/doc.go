// Package frames writes and reads disk images as zstd with independent frames:
// each frame holds the same number of raw bytes, the last one the rest, and may
// be fetched, checked and decoded without the others (RFC 8878 section 3).
//
// # Usage
//
// Write compresses an image and gives its Index. Parse reads an index that came
// from somewhere; Open checks and decodes one frame; Verify does all of them.
//
// # What is promised
//
// The same raw bytes and the same size of a frame make the same bytes and the
// same index, however many processors compress them.
//
// # Bounds
//
// An index holds at most MaxFrames frames of at most MaxSize raw bytes, and is
// at most MaxIndex bytes long. Decoding one frame takes memory for its compressed
// and its raw bytes, and never more than MaxSize for what it claims to hold.
package frames

// Sizes, in bytes.
const (
	// MinSize, DefaultSize and MaxSize are the raw bytes of one frame. Below, the
	// ratio gets worse; above, an installer needs more memory per frame in flight.
	MinSize     = 4 << 20
	DefaultSize = 8 << 20
	MaxSize     = 16 << 20
	// MaxFrames bounds an index: 1 TiB in frames of the default size.
	MaxFrames = 1 << 17
	// MaxIndex bounds an index as it is written: about 150 bytes a frame.
	MaxIndex = 32 << 20
	// Sector is what the size of a disk image must be a multiple of.
	Sector = 512
)

// MediaType is that of an index.
const MediaType = "application/vnd.rackreach.frames.v1+json"
