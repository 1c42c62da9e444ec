package frames

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// image is a disk of so many bytes: zeros, text and noise by turns.
func image(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	for at := 0; at < size; at += 1 << 20 {
		part := b[at:min(size, at+1<<20)]
		switch at >> 20 % 3 {
		case 1:
			copy(part, bytes.Repeat([]byte("rackreach "), len(part)/10))
		case 2:
			if _, err := r.Read(part); err != nil {
				panic(err)
			}
		}
	}
	return b
}

func written(t *testing.T, raw []byte, frameSize int64) (Index, []byte) {
	t.Helper()
	var out bytes.Buffer
	x, err := Write(t.Context(), &out, bytes.NewReader(raw), frameSize)
	if err != nil {
		t.Fatal(err)
	}
	return x, out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []int{Sector, MinSize - 1, MinSize, MinSize + 1, 3*MinSize + 512} {
		raw := image(size)
		x, data := written(t, raw, MinSize)
		if x.RawSize != int64(size) || x.Size() != int64(len(data)) || x.RawDigest != digest(raw) {
			t.Errorf("%d bytes: index of %d raw bytes, %d compressed", size, x.RawSize, x.Size())
		}
		b, err := x.Encode()
		if err != nil {
			t.Fatal(err)
		}
		y, err := Parse(b)
		if err != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("%d bytes: %v, read back %v", size, err, y)
		}
		if err := Verify(t.Context(), y, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
	}
}

// A frame is decoded without the others, wherever it stands.
func TestFramesAreIndependent(t *testing.T) {
	raw := image(3*MinSize + 512)
	x, data := written(t, raw, MinSize)
	d, err := NewDecoder(x)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	end := len(data)
	for i := len(x.Frames) - 1; i >= 0; i-- {
		from := end - int(x.Frames[i].Size)
		got, err := d.Decode(i, data[from:end], []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[1:], raw[i*MinSize:min(len(raw), (i+1)*MinSize)]) {
			t.Errorf("frame %d: wrong bytes", i)
		}
		end = from
	}
}

// The bytes do not depend on how many compress them.
func TestReproducible(t *testing.T) {
	raw := image(5 * MinSize)
	x, data := written(t, raw, MinSize)
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	y, again := written(t, raw, MinSize)
	if !bytes.Equal(data, again) || !reflect.DeepEqual(x, y) {
		t.Error("other bytes the second time")
	}
}

func TestAltered(t *testing.T) {
	x, data := written(t, image(2*MinSize), MinSize)
	change := func(fn func(*Index)) Index {
		y := x
		y.Frames = append([]Frame(nil), x.Frames...)
		fn(&y)
		return y
	}
	flipped := bytes.Clone(data)
	flipped[len(flipped)-9] ^= 1
	for name, tt := range map[string]struct {
		x    Index
		data []byte
	}{
		"a flipped bit":        {x, flipped},
		"too short":            {x, data[:len(data)-1]},
		"too long":             {x, append(bytes.Clone(data), 0)},
		"nothing":              {x, nil},
		"another image":        {change(func(y *Index) { y.RawDigest = digest(nil) }), data},
		"another raw digest":   {change(func(y *Index) { y.Frames[1].Raw = digest(nil) }), data},
		"a frame twice":        {change(func(y *Index) { y.Frames[1] = y.Frames[0] }), append(bytes.Clone(data[:x.Frames[0].Size]), data[:x.Frames[0].Size]...)},
		"a frame of other raw": {change(func(y *Index) { y.RawSize -= Sector }), data},
	} {
		if err := Verify(t.Context(), tt.x, bytes.NewReader(tt.data)); !errors.Is(err, ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Verify(t.Context(), x, io.MultiReader(bytes.NewReader(data[:10]), broken{})); !errors.Is(err, errBroken) || errors.Is(err, ErrAltered) {
		t.Errorf("a disk that fails: %v", err)
	}
}

// A frame that claims to hold more than a frame may is not decoded.
func TestBomb(t *testing.T) {
	var out bytes.Buffer
	if _, err := Write(t.Context(), &out, bytes.NewReader(make([]byte, MaxSize)), MaxSize); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat(out.Bytes(), 8)
	x := Index{RawSize: MinSize, FrameSize: MinSize, RawDigest: digest(nil), Frames: []Frame{{Size: int64(len(bomb)), Digest: digest(bomb), Raw: digest(nil)}}}
	if err := Verify(t.Context(), x, bytes.NewReader(bomb)); !errors.Is(err, ErrAltered) {
		t.Error(err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteFails(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	raw := image(20 * MinSize)
	for name, tt := range map[string]struct {
		ctx  context.Context
		w    io.Writer
		r    io.Reader
		size int64
		says string
	}{
		"empty":         {t.Context(), io.Discard, bytes.NewReader(nil), 0, "empty"},
		"small frames":  {t.Context(), io.Discard, bytes.NewReader(raw), MinSize - 1, "give 4194304 to 16777216"},
		"large frames":  {t.Context(), io.Discard, bytes.NewReader(raw), MaxSize + 1, "give 4194304 to 16777216"},
		"a bad reader":  {t.Context(), io.Discard, io.MultiReader(bytes.NewReader(raw), broken{}), 0, "read the image: broken"},
		"a bad writer":  {t.Context(), broken{}, bytes.NewReader(raw), 0, "broken"},
		"told to stop":  {ended, io.Discard, bytes.NewReader(raw), 0, "canceled"},
		"ended at once": {ended, io.Discard, bytes.NewReader(raw), MinSize, "canceled"},
	} {
		if _, err := Write(tt.ctx, tt.w, tt.r, tt.size); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestParse(t *testing.T) {
	x, _ := written(t, image(MinSize+1), MinSize)
	good, err := x.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, says string }{
		{`{`, `[`, "not JSON"},
		{`"version":1`, `"version":2`, "a newer rackreach"},
		{`"version":1`, `"version":0`, "version is missing"},
		{`"frameSize":4194304`, `"frameSize":1`, "a frame of 1 bytes"},
		{`"rawSize":4194305`, `"rawSize":9223372036854775807`, "an image of"},
		{`"rawSize":4194305`, `"rawSize":-1`, "an image of -1"},
		{`"rawSize":4194305`, `"rawSize":4194304`, "2 frames do not make"},
		{`"rawDigest":"sha256:`, `"rawDigest":"sha256:A`, "image's digest"},
		{`"frames":[[`, `"frames":[[1,`, "a frame is [size"},
		{`"frames":[[`, `"frames":[[-`, "cannot be"},
	} {
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		if _, err := Parse([]byte(bad)); bad == string(good) || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s for %s: %v", tt.new, tt.old, err)
		}
	}
	if _, err := Parse(make([]byte, MaxIndex+1)); err == nil {
		t.Error("an index of any size")
	}
}

func FuzzParse(f *testing.F) {
	var out bytes.Buffer
	x, err := Write(context.Background(), &out, bytes.NewReader(make([]byte, Sector)), 0)
	if err != nil {
		f.Fatal(err)
	}
	good, err := x.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"rawSize":1,"frameSize":8388608,"frames":[[1,"",""]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Parse(b)
		if err != nil {
			return
		}
		var sum int64
		for i := range x.Frames {
			sum += x.RawSizeOf(i)
		}
		if sum != x.RawSize || len(x.Frames) > MaxFrames {
			t.Errorf("frames of %d bytes for an image of %d", sum, x.RawSize)
		}
		again, err := x.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if y, err := Parse(again); err != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("read back: %v", err)
		}
	})
}
