package fleetlog

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestNewest is where every rack stands, and holds only of this log.
func TestNewest(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		if all, err := l.Newest(t.Context()); err != nil || len(all) > 0 {
			t.Fatalf("of an empty log: %v, %v", all, err)
		}
		const racks = 20
		for i := range racks {
			claimed(t, l, fmt.Sprintf("r%d", i), "j")
		}
		for i := 1; i < racks; i++ {
			if _, err := l.Append(t.Context(), fmt.Sprintf("r%d", i), 1, events(fmt.Sprintf("r%d", i), 1, i)); err != nil {
				t.Fatal(err)
			}
		}
		all, err := l.Newest(t.Context())
		if err != nil || len(all) != racks {
			t.Fatalf("%d racks, %v", len(all), err)
		}
		for name, n := range all {
			var i uint64
			if _, err := fmt.Sscanf(name, "r%d", &i); err != nil || n.Seq != i || n.Epoch != 1 || n.Journal != "j" {
				t.Errorf("%s: %+v", name, n)
			}
			other := "r1"
			if name == other {
				other = "r2"
			}
			for _, x := range []struct {
				rack     string
				position uint64
				at       time.Time
				is       bool
			}{{name, n.Position, n.Time, true}, {name, n.Position, n.Time.Add(1), false}, {other, n.Position, n.Time, false}, {name, 1 << 40, n.Time, false}} {
				if is, err := l.Has(t.Context(), x.rack, x.position, x.at); is != x.is || err != nil {
					t.Errorf("%s has message %d of %s: %v, %v", x.rack, x.position, x.at, is, err)
				}
			}
			first, err := l.First(t.Context(), name)
			if err != nil || first != i+1 {
				t.Errorf("%s begins with message %d, %v", name, first, err)
			}
		}
		if first, err := l.First(t.Context(), "r99"); first != 0 || err != nil {
			t.Errorf("a rack that is not there begins with message %d, %v", first, err)
		}
	})
}

// TestWatchKeys tells of the keys that the pattern says, and of no other.
func TestWatchKeys(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	table, err := l.Table(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"r1.aa", "r1", "r2.bb", "r2"} {
		if err := table.Put(t.Context(), key, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	done := fmt.Errorf("done")
	var told []string
	all := 0
	err = table.WatchKeys(t.Context(), "*", func(key string, value []byte, _ uint64) error {
		told = append(told, key)
		if all == 1 {
			return done
		}
		return nil
	}, func() {
		if all++; len(told) != 2 {
			t.Errorf("that it has told all it said behind %v", told)
		}
		for _, key := range []string{"r3.cc", "r3"} {
			if err := table.Put(t.Context(), key, []byte("of "+key)); err != nil {
				t.Error(err)
			}
		}
	})
	if !errors.Is(err, done) || fmt.Sprint(told) != "[r1 r2 r3]" {
		t.Errorf("%v, %v", told, err)
	}
}
