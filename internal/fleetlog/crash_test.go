//go:build unix

package fleetlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// childEnv names what this test binary does when a test starts it again.
const childEnv = "RACKREACH_FLEETLOG_CHILD"

// children are the jobs of TestChild.
func children() map[string]func(ctx context.Context, dir string) error {
	return map[string]func(context.Context, string) error{"write": writeForEver, "full": writeUntilFull}
}

// TestChild is no test of its own: it is the process that others start.
func TestChild(t *testing.T) {
	job, dir, _ := strings.Cut(os.Getenv(childEnv), ":")
	if do := children()[job]; do != nil {
		if err := do(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
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

// The racks that children write.
const childRacks = 6

func childRack(r int) string { return fmt.Sprintf("r%d", r) }

// childLog opens the log of a child, and says what each rack holds.
func childLog(ctx context.Context, dir string) (*Log, []uint64, error) {
	l, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	held := make([]uint64, childRacks)
	for r := range childRacks {
		h, err := l.Head(ctx, childRack(r))
		if err == nil && h.Epoch == 0 {
			h, err = l.Claim(ctx, childRack(r), "j", h)
		}
		if err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
		held[r] = h.Seq
	}
	return l, held, nil
}

// writeForEver appends to several racks at once, and says what was acknowledged.
func writeForEver(ctx context.Context, dir string) error {
	l, held, err := childLog(ctx, dir)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for r := range childRacks {
		go func() {
			for seq := held[r]; ; seq += 3 {
				last, err := l.Append(ctx, childRack(r), 1, events(childRack(r), int(seq)+1, 3))
				if err == nil {
					_, err = fmt.Printf("acknowledged %d %d\n", r, last)
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

// acknowledged reads the lines of a child until stop says so, and returns the
// newest acknowledged event of each rack.
func acknowledged(lines *bufio.Scanner, into []uint64, stop func(n int) bool) (n int) {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[0] != "acknowledged" { // the test binary's own words, or a line that was cut
			continue
		}
		r, errR := strconv.Atoi(f[1])
		seq, errSeq := strconv.ParseUint(f[2], 10, 64)
		if errR != nil || errSeq != nil || r >= len(into) {
			continue
		}
		into[r] = max(into[r], seq)
		if n++; stop(n) {
			break
		}
	}
	return n
}

func never(int) bool { return false }

// holdsAtLeast checks that each rack holds what was acknowledged, whole batches.
func holdsAtLeast(t *testing.T, l *Log, least []uint64) {
	t.Helper()
	for r, seq := range least {
		h, err := l.Head(t.Context(), childRack(r))
		if err != nil || h.Seq < seq || h.Seq%3 != 0 {
			t.Errorf("%s ends with event %d, %d were acknowledged: %v", childRack(r), h.Seq, seq, err)
		}
		holds(t, l, childRack(r), int(h.Seq))
	}
}

// TestKilledWriter kills a process that appends to many racks, again and again, on
// one store: all that it acknowledged is there, once, in order.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	least := make([]uint64, childRacks)
	for round := range 3 {
		cmd, out := child(t, "write", dir)
		lines, until := bufio.NewScanner(out), 1+random.IntN(150)
		n := acknowledged(lines, least, func(n int) bool { return n == until })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		acknowledged(lines, least, never) // said before it died
		if err := cmd.Wait(); err == nil || n < until {
			t.Fatalf("round %d: it was not killed, after %d lines", round, n)
		}
		l, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		holdsAtLeast(t, l, least)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// diskSize is how large a file may grow on the "disk" of writeUntilFull, in bytes.
const diskSize = 192 << 10

// writeUntilFull appends until no file may grow. Each writer gets an error then;
// it gives the same events again, as an agent does, and must not be told that they
// are durable because the server still has them in memory.
func writeUntilFull(ctx context.Context, dir string) error {
	l, held, err := childLog(ctx, dir)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: diskSize, Max: diskSize}); err != nil {
		return err
	}
	var writers sync.WaitGroup
	var mu sync.Mutex // of standard output
	for r := range childRacks {
		writers.Go(func() {
			for seq, refused := held[r], 0; refused < 3; {
				ctx, cancel := context.WithTimeout(ctx, fullLimit)
				last, err := l.Append(ctx, childRack(r), 1, events(childRack(r), int(seq)+1, 3))
				cancel()
				mu.Lock()
				if err != nil {
					refused++
					fmt.Printf("refused %v\n", err)
				} else {
					seq = last
					fmt.Printf("acknowledged %d %d\n", r, last)
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	return l.Close()
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, out := child(t, "full", dir)
	least := make([]uint64, childRacks)
	var said strings.Builder
	n := acknowledged(bufio.NewScanner(io.TeeReader(out, &said)), least, never)
	if err := cmd.Wait(); err != nil || n < 10 || strings.Count(said.String(), "refused ") != 3*childRacks {
		t.Fatalf("%d acknowledged, %v\n%s", n, err, said.String())
	}
	l := open(t, Options{Dir: dir}) // there is room again
	holdsAtLeast(t, l, least)
	h, err := l.Head(t.Context(), childRack(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), childRack(0), 1, events(childRack(0), int(h.Seq)+1, 1)); err != nil {
		t.Errorf("it does not go on: %v", err)
	}
}
