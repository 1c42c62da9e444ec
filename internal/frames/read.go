package frames

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrAltered says that bytes are not those of the index. It is wrapped.
var ErrAltered = errors.New("it is not what the index says")

// Decoder decodes frames, one at a time. It belongs to one goroutine.
type Decoder struct {
	index Index
	zstd  *zstd.Decoder
}

// NewDecoder makes a decoder for an index that Parse or Write gave. The caller
// closes it.
func NewDecoder(x Index) (*Decoder, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize), zstd.WithDecoderMaxWindow(MaxSize))
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return &Decoder{x, d}, nil
}

// Close frees what the decoder holds.
func (d *Decoder) Close() { d.zstd.Close() }

// Decode appends the raw bytes of frame i to into, which may be nil. What was
// fetched is checked before it is decoded, and what comes out after. Error:
// ErrAltered, wrapped.
func (d *Decoder) Decode(i int, compressed, into []byte) ([]byte, error) {
	raw, err := d.Unpack(i, compressed, into)
	if err != nil {
		return nil, err
	}
	if !d.index.IsRaw(i, sha256.Sum256(raw[len(into):])) {
		return nil, fmt.Errorf("frame %d: its raw bytes: %w", i, ErrAltered)
	}
	return raw, nil
}

// Unpack does what Decode does, but for the digest of what comes out: it is for those
// who make that where the bytes end up, and ask Index.IsRaw.
func (d *Decoder) Unpack(i int, compressed, into []byte) ([]byte, error) {
	f := d.index.Frames[i]
	if int64(len(compressed)) != f.Size || digest(compressed) != f.Digest {
		return nil, fmt.Errorf("frame %d: %w", i, ErrAltered)
	}
	raw, err := d.zstd.DecodeAll(compressed, into)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w: %w", i, ErrAltered, err)
	}
	if n := int64(len(raw) - len(into)); n != d.index.RawSizeOf(i) {
		return nil, fmt.Errorf("frame %d: its %d raw bytes: %w", i, n, ErrAltered)
	}
	return raw, nil
}

// Verify reads all frames from r, and holds that they are those of the index and
// make the image that it names. Errors: ErrAltered, wrapped; one of r or ctx.
func Verify(ctx context.Context, x Index, r io.Reader) error {
	d, err := NewDecoder(x)
	if err != nil {
		return err
	}
	defer d.Close()
	whole := sha256.New()
	var compressed, raw []byte
	for i, f := range x.Frames {
		if err := ctx.Err(); err != nil {
			return err
		}
		if int64(cap(compressed)) < f.Size {
			compressed = make([]byte, f.Size)
		}
		compressed = compressed[:f.Size]
		if _, err := io.ReadFull(r, compressed); err != nil {
			return fmt.Errorf("frame %d: %w", i, ended(err))
		}
		if raw, err = d.Decode(i, compressed, raw[:0]); err != nil {
			return err
		}
		whole.Write(raw)
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return fmt.Errorf("there is more behind the last frame: %w", ErrAltered)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	if got := algorithm + hex.EncodeToString(whole.Sum(nil)); got != x.RawDigest {
		return fmt.Errorf("the image has the digest %s: %w", got, ErrAltered)
	}
	return nil
}

// ended tells the end of the bytes from trouble with reading them.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends too early: %w", ErrAltered)
	}
	return err
}
