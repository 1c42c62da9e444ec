package fleetlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestTables(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		tb, err := l.Table(ctx, "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tb.Get(ctx, "k"); !errors.Is(err, ErrNone) {
			t.Errorf("%v", err)
		}
		if keys, err := tb.Keys(ctx); err != nil || len(keys) > 0 {
			t.Errorf("%v %v", keys, err)
		}
		big := []byte(strings.Repeat("0123456789", 200_000))
		rev, err := tb.Update(ctx, "k", big, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tb.Update(ctx, "k", []byte("x"), 0); !errors.Is(err, ErrConflict) {
			t.Errorf("made twice: %v", err)
		}
		if _, err := tb.Update(ctx, "k", []byte("x"), rev+7); !errors.Is(err, ErrConflict) {
			t.Errorf("another revision: %v", err)
		}
		v, got, err := tb.Get(ctx, "k")
		if err != nil || string(v) != string(big) || got != rev {
			t.Errorf("%d bytes, %d, %v", len(v), got, err)
		}
		watching, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var told []string
		err = tb.Watch(watching, func(key string, value []byte, _ uint64) error {
			told = append(told, fmt.Sprintf("%s:%d", key, len(value)))
			switch len(told) {
			case 1:
				return tb.Delete(ctx, "k")
			case 2:
				cancel()
			}
			return nil
		})
		if fmt.Sprint(told) != fmt.Sprintf("[k:%d k:0]", len(big)) {
			t.Errorf("%v %v", told, err)
		}
		if _, err := tb.Update(ctx, "k", nil, 0); err != nil {
			t.Errorf("made anew: %v", err)
		}
	})
}

// TestNames: what is a rack for internal/rack is one here, and nothing else is.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"r1", "a", "rack-1", "1", strings.Repeat("x", maxRack), "", "R1", "r_1", "-r", "r-", "r.1", "r 1", "*", ">", "r\n", "ä", "r1\x00", strings.Repeat("x", maxRack+1)} {
		fits := true
		for _, p := range rack.Validate(&rack.Rack{Name: name}, nil) {
			fits = fits && p.Where.Field != "name"
		}
		if err := checkRack(name); (err == nil) != fits {
			t.Errorf("%q: %v, but as a rack it fits: %v", name, err, fits)
		}
	}
	for id, fits := range map[string]bool{"a": true, "0190-ab_c": true, "user:1/x": true, "": false, "a.b": false, "*": false, "a>": false, "a b": false, "a\n": false, "\x7f": false, "ü": false, strings.Repeat("x", maxOrder+1): false} {
		if err := checkOrder("r1", id); (err == nil) != fits {
			t.Errorf("order %q: %v", id, err)
		}
	}
}

// TestOneOfManyUpdates wins; the others are told.
func TestOneOfManyUpdates(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		tb, err := l.Table(t.Context(), "race")
		if err != nil {
			t.Fatal(err)
		}
		for _, revision := range []uint64{0, 1} {
			var wg sync.WaitGroup
			won := make(chan uint64, 8)
			for i := range 8 {
				wg.Go(func() {
					rev, err := tb.Update(context.Background(), "k", []byte{byte(i)}, revision)
					switch {
					case err == nil:
						won <- rev
					case !errors.Is(err, ErrConflict):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d won", len(won))
			}
			if _, rev, err := tb.Get(t.Context(), "k"); err != nil || rev != <-won {
				t.Errorf("%d %v", rev, err)
			}
		}
	})
}

// TestLargeValues: the embedded server takes any; a cluster's limit is named.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		tb, err := l.Table(t.Context(), "large")
		if err != nil {
			t.Fatal(err)
		}
		size := maxValue
		if l.server == nil {
			size = 3 << 19 // more than the cluster's 1 MiB
		}
		noise := make([]byte, size) // nothing makes it smaller
		if _, err := rand.NewChaCha8([32]byte{1}).Read(noise); err != nil {
			t.Fatal(err)
		}
		err = tb.Put(t.Context(), "k", noise)
		if l.server == nil {
			if err == nil || !strings.Contains(err.Error(), "max_payload") {
				t.Errorf("%v", err)
			}
		} else if got, _, errGet := tb.Get(t.Context(), "k"); err != nil || errGet != nil || !bytes.Equal(got, noise) {
			t.Errorf("%v, %d bytes, %v", err, len(got), errGet)
		}
		if err := tb.Put(t.Context(), "k", make([]byte, maxValue+1)); err == nil {
			t.Error("a byte too many")
		}
		if err := tb.Put(t.Context(), "k", make([]byte, size)); err != nil { // zeros
			t.Error(err)
		}
	})
}
