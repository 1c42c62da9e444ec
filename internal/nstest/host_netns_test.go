//go:build netns

package nstest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/internal/nstest"
)

// commandEnv holds the program that a test process starts on a host, which is killed then.
const commandEnv = "RACKREACH_NSTEST_COMMAND"

// TestMortal is that process.
func TestMortal(t *testing.T) {
	words := strings.Fields(os.Getenv(commandEnv))
	if len(words) == 0 {
		return
	}
	cmd := exec.Command(words[0], words[1:]...)
	nstest.New(t).Start(cmd)
	fmt.Println("started", cmd.Process.Pid)
	select {} // until it is killed
}

// TestStartedEndsWithProcess: what a test has started ends when the test's process is
// killed, with no time to clean up.
func TestStartedEndsWithProcess(t *testing.T) {
	nstest.Needs(t, "dnsmasq", "dnsmasq-base")
	dir := t.TempDir()
	for name, command := range map[string]string{
		"sleep": "sleep 1000",
		"dnsmasq": "dnsmasq --keep-in-foreground --port=0 --conf-file=/dev/null --dhcp-range=127.0.0.8,127.0.0.9 --user=root --group=root --dhcp-leasefile=" + filepath.Join(dir, "leases") +
			" --pid-file=" + filepath.Join(dir, "pid"),
	} {
		t.Run(name, func(t *testing.T) {
			test := exec.Command(os.Args[0], "-test.run=^TestMortal$", "-test.v")
			test.Env = append(os.Environ(), commandEnv+"="+command)
			test.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := test.StdoutPipe()
			if err == nil {
				err = test.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			pid := 0
			for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
				_, _ = fmt.Sscanf(lines.Text(), "started %d", &pid)
			}
			if pid == 0 {
				t.Fatalf("nothing was started: %v", test.Wait())
			}
			started, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(started)
			ended := []unix.PollFd{{Fd: int32(started), Events: unix.POLLIN}}
			for name == "dnsmasq" { // it has given up its rights once it serves, which it says by its number
				if b, _ := os.ReadFile(filepath.Join(dir, "pid")); len(b) > 0 {
					break
				}
				if n, err := unix.Poll(ended, 10); n != 0 || err != nil {
					t.Fatalf("it does not go on: %v", err)
				}
			}
			if err := test.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = test.Wait()
			if n, err := unix.Poll(ended, 20_000 /* ms */); n != 1 || err != nil {
				t.Errorf("it goes on after the test that started it was killed: %v", err)
				_ = unix.PidfdSendSignal(started, unix.SIGKILL, nil, 0)
			}
		})
	}
}
