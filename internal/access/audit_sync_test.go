package access

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was let through is durable when Write returns: an entry whose file cannot be
// brought to the disk is an error, and its call is not carried out. A refusal, which
// strangers can cause at will, costs no disk.
func TestWhatIsLetThroughIsSynced(t *testing.T) {
	a, err := OpenAudit(filepath.Join(t.TempDir(), "audit"), 0)
	if err != nil {
		t.Fatal(err)
	}
	// A pipe takes what is written, and cannot be synced (fsync(2), EINVAL).
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	own := a.file
	a.file = w
	if err := a.Write(Entry{Who: "ada", Procedure: "/Halt"}); err == nil || !strings.Contains(err.Error(), "invalid argument") {
		t.Errorf("an entry that did not come to the disk: %v", err)
	}
	if err := a.Write(Entry{Procedure: "/Halt", Refused: "no token"}); err != nil {
		t.Errorf("a refusal: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || strings.Count(string(b), "\n") != 2 {
		t.Errorf("%d lines were written, %v", strings.Count(string(b), "\n"), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	a.file = own
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
