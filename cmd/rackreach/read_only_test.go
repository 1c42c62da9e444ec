package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// TestReadOnlyState: a journal that cannot be written to is looked at with all of
// its checks, nothing in its directory changes, and no order is taken.
func TestReadOnlyState(t *testing.T) {
	r, err := load(example("rack-1.yaml"), platform.All())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := resolved(r, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	dir := state.Home(t.TempDir()).Rack("r1")
	k, err := rackagent.OpenKept(dir, "r1", plan)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Journal.Append(rack.Event{Rack: "r1", Kind: rack.RackStarted, Detail: rack.Detail{Run: "x7", PlanHash: plan.Plan.Hash}})
	if err := errors.Join(err, k.Close()); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	ro, err := openReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	client, stop := api.Local(api.New(ro))
	a, err := client.GetRack(t.Context(), connect.NewRequest(&messages.GetRackRequest{Name: "racks/r1"}))
	if err != nil || a.Msg.GetRack().GetStatus() != "imaging" || a.Msg.GetRack().GetDriven() || a.Msg.GetRack().GetLastSeq() != 1 {
		t.Errorf("%v %v", a, err)
	}
	_, err = client.RetryDevice(t.Context(), connect.NewRequest(&messages.RetryDeviceRequest{Name: "racks/r1/devices/tor-1"}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Error("an order was taken:", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if after := names(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the directory holds %v, it held %v", after, before)
	}
	for err, want := range map[error]bool{
		fmt.Errorf("lock: %w", &os.PathError{Op: "open", Path: "pid", Err: syscall.EROFS}):  true,
		fmt.Errorf("lock: %w", &os.PathError{Op: "open", Path: "pid", Err: syscall.EACCES}): true,
		fmt.Errorf("lock: %w", &os.PathError{Op: "open", Path: "pid", Err: syscall.ENOSPC}): false,
		&journal.InUse{}: false,
	} {
		if unwritable(err) != want {
			t.Errorf("%v", err)
		}
	}
}

func names(t *testing.T, dir state.Dir) (out []string) {
	files, err := filepath.Glob(filepath.Join(string(dir), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(filepath.Base(f), info.Size(), info.ModTime()))
	}
	return out
}
