package frames

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Frame is one frame of an image.
type Frame struct {
	Size   int64  // bytes, compressed
	Digest string // of the compressed bytes: "sha256:" and 64 lower hex digits
	Raw    string // digest of the raw bytes
}

// Index is where the frames of an image are, and what they hold.
type Index struct {
	RawSize   int64  // bytes of the image
	RawDigest string // of the whole image
	FrameSize int64  // raw bytes of each frame but the last
	Frames    []Frame
}

// document is an index as it is written. A frame is an array: [size, digest of the
// compressed bytes, digest of the raw bytes], the digests without "sha256:".
type document struct {
	Version   int      `json:"version"`
	RawSize   int64    `json:"rawSize"`
	RawDigest string   `json:"rawDigest"`
	FrameSize int64    `json:"frameSize"`
	Frames    [][3]any `json:"frames"`
}

const version = 1

// algorithm begins every digest.
const algorithm = "sha256:"

// Encode is the index as JSON.
func (x Index) Encode() ([]byte, error) {
	d := document{Version: version, RawSize: x.RawSize, RawDigest: x.RawDigest, FrameSize: x.FrameSize, Frames: make([][3]any, len(x.Frames))}
	for i, f := range x.Frames {
		d.Frames[i] = [3]any{f.Size, strings.TrimPrefix(f.Digest, algorithm), strings.TrimPrefix(f.Raw, algorithm)}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write the index of frames: %w", err)
	}
	return append(b, '\n'), nil
}

// Parse reads an index and holds that it is one that can be: its frames cover the
// image, each with a size and digests.
func Parse(b []byte) (Index, error) {
	x, err := parse(b)
	if err != nil {
		return Index{}, fmt.Errorf("index of frames: %w", err)
	}
	return x, nil
}

func parse(b []byte) (Index, error) {
	if len(b) > MaxIndex {
		return Index{}, fmt.Errorf("it is larger than %d bytes", MaxIndex)
	}
	var d struct {
		document
		Frames []frame `json:"frames"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return Index{}, fmt.Errorf("it is not JSON of such an index: %w", err)
	}
	x := Index{RawSize: d.RawSize, RawDigest: d.RawDigest, FrameSize: d.FrameSize, Frames: make([]Frame, len(d.Frames))}
	switch {
	case d.Version > version:
		return Index{}, fmt.Errorf("a newer rackreach wrote it (version %d, this one knows %d): use that one", d.Version, version)
	case d.Version != version:
		return Index{}, errors.New("its version is missing")
	case x.FrameSize < MinSize || x.FrameSize > MaxSize:
		return Index{}, fmt.Errorf("a frame of %d bytes: it must be %d to %d", x.FrameSize, MinSize, MaxSize)
	case x.RawSize <= 0 || x.RawSize > MaxFrames*x.FrameSize:
		return Index{}, fmt.Errorf("an image of %d bytes: it must be 1 to %d", x.RawSize, MaxFrames*x.FrameSize)
	case !valid(x.RawDigest):
		return Index{}, errors.New("the image's digest is not sha256: and 64 lower hex digits")
	case int64(len(x.Frames)) != (x.RawSize+x.FrameSize-1)/x.FrameSize:
		return Index{}, fmt.Errorf("%d frames do not make an image of %d bytes", len(x.Frames), x.RawSize)
	}
	for i, f := range d.Frames {
		x.Frames[i] = Frame(f)
		if f.Size <= 0 || f.Size > maxCompressed(x.FrameSize) || !valid(f.Digest) || !valid(f.Raw) {
			return Index{}, fmt.Errorf("frame %d: its size or a digest cannot be", i)
		}
	}
	return x, nil
}

// frame reads what document writes.
type frame Frame

// UnmarshalJSON implements json.Unmarshaler.
func (f *frame) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) != 3 {
		return errors.New("a frame is [size, digest, digest of the raw bytes]")
	}
	if err := errors.Join(json.Unmarshal(parts[0], &f.Size), json.Unmarshal(parts[1], &f.Digest), json.Unmarshal(parts[2], &f.Raw)); err != nil {
		return err
	}
	f.Digest, f.Raw = algorithm+f.Digest, algorithm+f.Raw
	return nil
}

// maxCompressed is the most that a frame may grow by compression: zstd stores
// what it cannot compress in blocks of 128 KiB with headers of 3 bytes.
func maxCompressed(raw int64) int64 { return raw + raw>>8 + 1<<10 }

// valid reports whether s is a digest.
func valid(s string) bool {
	h, ok := strings.CutPrefix(s, algorithm)
	if !ok || len(h) != 64 || h != strings.ToLower(h) {
		return false
	}
	_, err := hex.DecodeString(h)
	return err == nil
}

// Size is how many bytes the frames take, all told.
func (x Index) Size() (n int64) {
	for _, f := range x.Frames {
		n += f.Size
	}
	return n
}

// RawSizeOf is how many raw bytes frame i holds.
func (x Index) RawSizeOf(i int) int64 {
	return min(x.FrameSize, x.RawSize-int64(i)*x.FrameSize)
}

// IsRaw reports whether sum is the SHA-256 of what frame i holds, raw.
func (x Index) IsRaw(i int, sum [sha256.Size]byte) bool {
	return algorithm+hex.EncodeToString(sum[:]) == x.Frames[i].Raw
}
