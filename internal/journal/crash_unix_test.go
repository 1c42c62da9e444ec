//go:build unix

package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// children are the jobs of TestChild.
func children() map[string]func(dir string) error {
	return map[string]func(string) error{"write": writeForEver, "full": writeUntilFull, "unprivileged": openUnprivileged}
}

// diskSize is how large a file may grow on the "disk" of writeUntilFull, in bytes.
const diskSize = 192 << 10

// writeUntilFull appends until no file may grow, then holds what the contract says.
func writeUntilFull(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: diskSize, Max: diskSize}); err != nil {
		return err
	}
	s, err := Open(dir, Options{Rack: "r1"})
	if err != nil {
		return err
	}
	var last uint64
	for i := 0; ; i++ {
		got, err := s.Append(event(i), event(i))
		if isFull(err) {
			_, again := s.Append(event(i))
			events, readErr := s.Read(1, 1<<20)
			if !isFull(again) || readErr != nil || uint64(len(events)) != last || s.Last() != last {
				return fmt.Errorf("after %d events: again %w, read %d, %w", last, again, len(events), readErr)
			}
			return s.Close()
		}
		if err != nil {
			return err
		}
		last = got[1].Seq
		if _, err := fmt.Printf("acknowledged %d\n", last); err != nil {
			return err
		}
	}
}

// isFull: bbolt does not wrap the system's error, it quotes it.
func isFull(err error) bool {
	return errors.Is(err, ErrBroken) && strings.Contains(err.Error(), syscall.EFBIG.Error())
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	cmd, out := child(t, "full", dir)
	highest, n := acknowledged(bufio.NewScanner(out), func(int) bool { return false })
	if err := cmd.Wait(); err != nil || n < 10 {
		t.Fatalf("%d acknowledged, %v", n, err)
	}
	s := open(t, dir, Options{}) // there is room again
	got, err := s.Append(event(1))
	if err != nil || got[0].Seq != highest+1 {
		t.Errorf("%d were acknowledged, then %+v, %v", highest, got, err)
	}
}

// nobody is a user without rights; root may write into a read-only directory.
const nobody = 65534

func openUnprivileged(dir string) error {
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
	}
	if _, err := Open(dir, Options{Rack: "r1"}); !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("open for writing: %w", err)
	}
	if _, err := Open(filepath.Join(dir, "new"), Options{Rack: "r1"}); !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("create: %w", err)
	}
	r, err := Verify(dir)
	if err == nil && r.Events != 3 {
		err = fmt.Errorf("it has %d events", r.Events)
	}
	return err
}

// TestReadOnlyDirectory: nothing is written, the error says where; it can be read.
func TestReadOnlyDirectory(t *testing.T) {
	dir, file, _ := written(t, 3)
	readable, err := os.MkdirTemp("", "journal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(os.Chmod(readable, 0o700), os.RemoveAll(readable)); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{dbFile, lockFile} {
		content := file
		if name == lockFile {
			if content, err = os.ReadFile(filepath.Join(dir, lockFile)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(readable, name), content, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(readable, 0o555); err != nil {
		t.Fatal(err)
	}
	cmd, out := child(t, "unprivileged", readable)
	lines := bufio.NewScanner(out)
	said := ""
	for lines.Scan() {
		said += lines.Text() + "\n"
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
