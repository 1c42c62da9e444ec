package state

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEpochStays(t *testing.T) {
	d := Home(t.TempDir()).Rack("r1")
	if e, err := d.ReadEpoch(); err != nil || e.Number != 0 || e.Superseded != nil {
		t.Errorf("before the first: %+v %v", e, err)
	}
	for _, want := range []Epoch{{Number: 1}, {Number: 1, Superseded: &Successor{Epoch: 2, Journal: "j", Time: time.Unix(1, 0).UTC()}}, {Number: 3}} {
		if err := d.WriteEpoch(want); err != nil {
			t.Fatal(err)
		}
		want.Version = version
		if got, err := d.ReadEpoch(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v %v, want %+v", got, err, want)
		}
	}
	for text, want := range map[string]string{"": "damaged", "{": "damaged", `{"version":99}`: "newer rackreach"} {
		if err := os.WriteFile(d.file("epoch"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadEpoch(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestPlace: what stood there is kept, and what an attempt before left is not.
func TestPlace(t *testing.T) {
	h := Home(t.TempDir())
	for i, word := range []string{"first", "second", "third"} {
		d, err := h.Fresh("r1")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.file("torn"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err = h.Fresh("r1"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.file("word"), []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := h.Place(d, "r1", time.Unix(int64(i), 0))
		if err != nil || (aside == "") != (i == 0) {
			t.Fatalf("%s: aside %q, %v", word, aside, err)
		}
		if b, err := os.ReadFile(h.Rack("r1").file("word")); err != nil || string(b) != word {
			t.Errorf("%q %v, want %s", b, err, word)
		}
		if _, err := os.Stat(h.Rack("r1").file("torn")); !errors.Is(err, os.ErrNotExist) {
			t.Error("what an attempt before left came along:", err)
		}
		if aside != "" {
			if b, err := os.ReadFile(filepath.Join(aside, "word")); err != nil || string(b) == word {
				t.Errorf("aside: %q %v", b, err)
			}
		}
	}
	if racks, err := h.Racks(); err != nil || len(racks) != 0 {
		t.Errorf("without a journal it is no rack: %v %v", racks, err)
	}
}
