//go:build unix

package coordinator

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/messages"
)

// diskEnv says that this process is the one whose disk gets full.
const diskEnv = "RACKREACH_COORDINATOR_DISK"

// diskSize is how large a file may grow there, in bytes.
const diskSize = 192 << 10

// TestTheCoordinatorEndsWithItsDisk: a coordinator whose log takes nothing any more
// ends, and says so, for it can only go on when it is started again; one that went on
// would take no event for ever. It runs in a process of its own, whose files may not
// grow.
func TestTheCoordinatorEndsWithItsDisk(t *testing.T) {
	if os.Getenv(diskEnv) != "" {
		fillTheDisk(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), diskEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillTheDisk(t *testing.T) {
	dir := home(t, false)
	log, err := fleetlog.Open(t.Context(), fleetlog.Options{Dir: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	unix, err := api.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	c, err := New(t.Context(), Options{Log: log, Version: "test", Unix: unix, Registry: prometheus.NewRegistry(), Security: Security{Dir: dir}, Depot: filepath.Join(dir, "depot"), Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: diskSize, Max: diskSize}); err != nil {
		t.Fatal(err)
	}
	h, err := log.Head(ctx, "r1")
	if err == nil {
		_, err = log.Claim(ctx, "r1", "j", h)
	}
	for seq := uint64(1); err == nil; seq++ {
		_, err = log.Append(ctx, "r1", 1, []*messages.Event{{Seq: seq, Rack: "r1", Kind: "observed", Time: timestamppb.New(time.Unix(int64(seq), 0)),
			Detail: &messages.EventDetail{Reason: strings.Repeat("x", 4<<10)}}})
	}
	refused := err
	err = <-ended
	if ctx.Err() != nil || err == nil || !strings.Contains(err.Error(), "This coordinator ends") {
		t.Errorf("an event was refused (%v), and the coordinator ended with %v, %v", refused, err, ctx.Err())
	}
	if err := log.Close(); err != nil {
		t.Log(err) // it cannot write its last words
	}
}
