//go:build unix

package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestCopyAfterEveryCommit copies the file between commits while writers run:
// each copy, opened, has all that was acknowledged by then.
func TestCopyAfterEveryCommit(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	var mu sync.Mutex
	var acknowledged uint64
	var atLeast []uint64 // of each copy
	s := open(t, dir, Options{committed: func() {
		mu.Lock()
		defer mu.Unlock()
		b, err := os.ReadFile(filepath.Join(dir, dbFile))
		if err != nil {
			t.Error(err)
			return
		}
		to := filepath.Join(copies, fmt.Sprint(len(atLeast)))
		if err := errors.Join(os.Mkdir(to, 0o700), os.WriteFile(filepath.Join(to, dbFile), b, 0o600)); err != nil {
			t.Error(err)
		}
		atLeast = append(atLeast, acknowledged)
	}})
	var writers sync.WaitGroup
	for range 5 {
		writers.Go(func() {
			for i := range 12 {
				got, err := s.Append(event(i), event(i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged = max(acknowledged, got[1].Seq)
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, least := range atLeast {
		c := open(t, filepath.Join(copies, fmt.Sprint(i)), Options{})
		if got, err := c.Read(1, 1000); err != nil || c.Last() < least || uint64(len(got)) != c.Last() || c.Last()%2 != 0 {
			t.Errorf("copy %d: %d events, %d read, %d were acknowledged, %v", i, c.Last(), len(got), least, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if last := len(atLeast) - 1; atLeast[last] < 100 {
		t.Errorf("the last of %d copies was made at %d events", last+1, atLeast[last])
	}
}

// TestPowerCutInMidCommit: a disk writes the pages of a commit in any order. With
// any of its pages but no header, the file holds the commit before, whole; with
// all and the header, the new one. It goes on from there.
func TestPowerCutInMidCommit(t *testing.T) {
	dir := t.TempDir()
	var images [][]byte
	s := open(t, dir, Options{committed: func() {
		b, err := os.ReadFile(filepath.Join(dir, dbFile))
		if err != nil {
			t.Error(err)
		}
		images = append(images, bytes.Clone(inUse(t, b)))
	}})
	for i := range 60 {
		if _, err := s.Append(event(i), event(i), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	size := os.Getpagesize()
	random := rand.New(rand.NewPCG(1, 2))
	for i := 1; i < len(images); i++ {
		before, after := images[i-1], images[i]
		for _, complete := range []bool{false, true} {
			cut := make([]byte, max(len(before), len(after)))
			copy(cut, before)
			for at := 2 * size; at < len(after); at += size {
				if complete || random.IntN(2) == 0 {
					copy(cut[at:at+size], after[at:])
				}
			}
			want := uint64(3 * i)
			if complete {
				copy(cut[:2*size], after)
				want += 3
			}
			to := t.TempDir()
			if err := os.WriteFile(filepath.Join(to, dbFile), cut, 0o600); err != nil {
				t.Fatal(err)
			}
			c := open(t, to, Options{})
			if c.Last() != want {
				t.Fatalf("commit %d, complete %v: %d events, want %d", i, complete, c.Last(), want)
			}
			if got, err := c.Append(event(1)); err != nil || got[0].Seq != want+1 {
				t.Fatalf("commit %d: it does not go on: %v", i, err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(to); err != nil || r.Events != want+1 {
				t.Fatalf("commit %d: %+v %v", i, r, err)
			}
		}
	}
}

// childEnv names what this test binary does when a test starts it again.
const childEnv = "RACKREACH_JOURNAL_CHILD"

// TestChild is no test of its own: it is the process that others start.
func TestChild(t *testing.T) {
	job, dir, _ := strings.Cut(os.Getenv(childEnv), ":")
	if do := children()[job]; do != nil {
		if err := do(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// writeFor ever, by several writers, and say what was acknowledged.
func writeForEver(dir string) error {
	s, err := Open(dir, Options{Rack: "r1"})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for range 4 {
		go func() {
			for i := 0; ; i++ {
				got, err := s.Append(event(i), event(i))
				if err == nil {
					_, err = fmt.Printf("acknowledged %d\n", got[1].Seq)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// child starts this binary again. The caller waits for it.
func child(t *testing.T, job, dir string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"="+job+":"+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// acknowledged is the highest sequence in the lines of a child, and how many there are.
func acknowledged(lines *bufio.Scanner, stop func(n int) bool) (highest uint64, n int) {
	for lines.Scan() {
		word, ok := strings.CutPrefix(lines.Text(), "acknowledged ")
		seq, err := strconv.ParseUint(word, 10, 64)
		if !ok || err != nil { // the test binary's own words, or a line that was cut
			continue
		}
		highest, n = max(highest, seq), n+1
		if stop(n) {
			break
		}
	}
	return highest, n
}

// TestKilledWriter kills a process that appends, 20 times, on one journal.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 20 {
		cmd, out := child(t, "write", dir)
		lines, until := bufio.NewScanner(out), 1+random.IntN(120)
		highest, n := acknowledged(lines, func(n int) bool { return n == until })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		more, _ := acknowledged(lines, func(int) bool { return false }) // said before it died
		if err := cmd.Wait(); err == nil {
			t.Error("it was not killed")
		}
		s := open(t, dir, Options{})
		if highest = max(highest, more); n < until || s.Last() < highest || s.Last()%2 != 0 {
			t.Errorf("round %d: %d events, %d were acknowledged in %d lines", round, s.Last(), highest, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
