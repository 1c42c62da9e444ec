package state

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestSiblingsStay(t *testing.T) {
	d := Home(t.TempDir()).Rack("r1")
	if ids, err := d.ReadSiblings(); err != nil || ids != nil {
		t.Errorf("before the first: %v %v", ids, err)
	}
	for _, want := range [][]string{{"10.0.2.254", "10.0.3.254"}, {}} {
		if err := d.WriteSiblings(want); err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadSiblings(); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v %v, want %v", got, err, want)
		}
	}
	for text, want := range map[string]string{"": "damaged", "{": "damaged", `{"version":99}`: "newer rackreach", strings.Repeat(" ", maxSiblings+1): "damaged"} {
		if err := os.WriteFile(d.file("siblings"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadSiblings(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}
