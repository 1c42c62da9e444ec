package access

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func openAudit(t *testing.T, path string, limit int64) *Audit {
	t.Helper()
	a, err := OpenAudit(path, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestTheTrailIsBoundedAndNewestFirst(t *testing.T) {
	const limit, lines = 2000, 200
	path := filepath.Join(t.TempDir(), "state", "audit.jsonl")
	a := openAudit(t, path, limit)
	for i := range lines {
		if err := a.Write(Entry{Who: itoa(i), Procedure: "/p"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{path, path + ".1"} {
		if info, err := os.Stat(p); err != nil || info.Size() > limit || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", p, info, err)
		}
	}
	entries := mustList(t, a, 1000)
	if len(entries) < 20 || len(entries) >= lines {
		t.Fatalf("%d entries", len(entries))
	}
	for i, e := range entries {
		if e.Who != itoa(lines-1-i) {
			t.Fatalf("entry %d is %s: the newest is expected first, across both files", i, e.Who)
		}
	}
	if n := len(mustList(t, a, 3)); n != 3 {
		t.Errorf("%d of 3", n)
	}
}

func TestHalfALineSwallowsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	first := openAudit(t, path, 0)
	if err := first.Write(Entry{Who: "a", Procedure: "/p"}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, b[:len(b)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	second := openAudit(t, path, 0)
	if err := second.Write(Entry{Who: "b", Procedure: "/p"}); err != nil {
		t.Fatal(err)
	}
	if got := mustList(t, second, 0); len(got) != 2 || got[0].Who != "b" || got[1].Who != "a" {
		t.Errorf("%+v", got)
	}
}

func TestManyWriteAtOnce(t *testing.T) {
	a := openAudit(t, filepath.Join(t.TempDir(), "audit.jsonl"), 0)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if err := a.Write(Entry{Procedure: "/p", Refused: "no"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(mustList(t, a, 1000)); n != 160 {
		t.Errorf("%d entries", n)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("racks/r1\x1b[2J\u202e\xff\ufffd")
	f.Add(strings.Repeat("é", 300))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s, maxText)
		if len(got) > maxText+len("…") || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x1b\x00\u202e\u2028") {
			t.Errorf("%q", got)
		}
	})
}
