package bundle

import (
	"context"
	"errors"
	"io"

	"github.com/rackreach/rackreach/internal/blob"
)

// stream is a blob from its first byte to its last, also of a place that sends it in
// parts. It ends early where the place does, and is read on for one byte more, so that
// one that is too long is seen.
type stream struct {
	ctx  context.Context
	from blob.Source
	blob Blob
	at   int64
	part io.ReadCloser
	got  bool // the part gave something
}

func newStream(ctx context.Context, from blob.Source, b Blob) *stream {
	return &stream{ctx: ctx, from: from, blob: b}
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		if s.part == nil {
			if s.at >= s.blob.Size && s.at > 0 {
				return 0, io.EOF
			}
			part, err := s.from.Fetch(s.ctx, s.blob.Digest, s.blob.Size, s.at)
			if err != nil {
				return 0, err
			}
			s.part, s.got = part, false
		}
		n, err := s.part.Read(p)
		s.at += int64(n)
		s.got = s.got || n > 0
		if errors.Is(err, io.EOF) {
			err = s.Close()
			if err == nil && (!s.got || s.at >= s.blob.Size) {
				err = io.EOF
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.part == nil {
		return nil
	}
	part := s.part
	s.part = nil
	return part.Close()
}
