//go:build netns

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// What a fleet has to survive, at its full length: make fleet-faults.

// TestFleetFaultAway cuts an agent off for three minutes.
func TestFleetFaultAway(t *testing.T) {
	t.Parallel()
	const away = 3 * time.Minute
	s := newSite(t, 1, "4") // imaging lasts longer than the cut
	r := s.racks[0]
	s.apply()
	r.busy("mgmt-1", rack.Installation)
	r.host.unplug()
	cut := time.Now()
	s.until(nsSoon, "the coordinator calls the agent away", func() bool { return !r.seen().GetAgent().GetConnected() })
	noticed := time.Since(cut)
	s.until(away, "the cut has lasted", func() bool { return time.Since(cut) >= away })
	behind := r.itself().GetLastSeq() - r.seen().GetLastSeq()
	r.host.plug()
	took := r.caughtUp(time.Minute)
	s.completed()
	s.judge()
	t.Logf("RESULT agent away: %s; noticed after %s; %d events behind; caught up %s after the cable", away, noticed.Round(time.Second), behind, took.Round(100*time.Millisecond))
}

// TestFleetFaultCoordinatorKilled kills the coordinator in every phase of a rack,
// and between two racks.
func TestFleetFaultCoordinatorKilled(t *testing.T) {
	t.Parallel()
	s := newCenter(t)
	s.spec = "atOnce: 1\n"
	s.found(2, "12")
	first, second := s.racks[0], s.racks[1]
	s.apply()
	var figures []string
	again := func(when string) {
		s.coordinator.kill()
		at := time.Now()
		s.startCoordinator()
		up := time.Since(at)
		first.caughtUp(nsSoon)
		figures = append(figures, fmt.Sprintf("%s %s+%s", when, up.Round(10*time.Millisecond), (time.Since(at)-up).Round(10*time.Millisecond)))
	}
	for _, x := range []struct {
		device string
		phase  rack.Phase
	}{{"mgmt-1", rack.Discovery}, {"mgmt-1", rack.Installation}, {"tor-1", rack.Installation}, {"tor-1", rack.Configuration}, {"server-01", rack.Installation}} {
		first.busy(x.device, x.phase)
		again(fmt.Sprintf("%s of %s", x.phase, x.device))
	}
	// It hangs while the last device becomes ready, so that it is killed before it can
	// begin the next rack.
	s.until(nsPatience, "the first rack is nearly done", func() bool {
		return first.device("server-01") == string(rack.Configuration) || first.device("server-02") == string(rack.Configuration)
	})
	s.coordinator.signal(syscall.SIGSTOP)
	s.until(nsPatience, "the first rack is completed", func() bool { return first.itself().GetStatus() == string(rack.Completed) })
	if second.itself().GetLastSeq() > 0 {
		t.Error("the second rack was begun before the first was completed")
	}
	again("between racks")
	s.completed()
	s.judge()
	t.Logf("RESULT coordinator killed, time to serve + time until the agent has caught up: %s", strings.Join(figures, "; "))
}

// TestFleetFaultDiskFull fills the coordinator's disk while a rack is imaged, and
// frees it later.
func TestFleetFaultDiskFull(t *testing.T) {
	t.Parallel()
	s := newCenter(t)
	disk := filepath.Join(s.dir, smallDisk)
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
		t.Fatal("mount a small disk: ", err)
	}
	t.Cleanup(func() {
		for _, p := range s.ran {
			p.kill()
		}
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error("unmount the small disk: ", err)
		}
	})
	if err := os.Symlink(disk, filepath.Join(string(s.center.home), "coordinator")); err != nil {
		t.Fatal(err)
	}
	s.found(1, "12")
	r := s.racks[0]
	s.apply()
	r.busy("mgmt-1", rack.Installation)
	fill := filepath.Join(disk, "filler")
	filled := s.fill(fill)
	at := time.Now()
	before := r.itself().GetLastSeq()
	if out, code := s.coordinator.wait(time.Minute); code != exitError || !strings.Contains(out, "its disk is full, or has failed") {
		t.Errorf("the coordinator ended with %d: %s", code, out)
	}
	ended := time.Since(at)
	// A service manager starts it again, while there is still no room.
	s.coordinator = s.launchCoordinator()
	s.until(time.Minute, "the agent images on", func() bool { return r.itself().GetLastSeq() > before+20 })
	if _, code := s.coordinator.wait(time.Minute); code != exitError {
		t.Errorf("with a full disk the coordinator ended with %d", code)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	full := time.Since(at)
	s.startCoordinator()
	behind := r.itself().GetLastSeq() - r.seen().GetLastSeq()
	took := r.caughtUp(time.Minute)
	s.completed()
	s.judge()
	t.Logf("RESULT disk of the coordinator full for %s (%d MiB): it ended after %s with an error, and again when it was started; %d events behind; caught up %s after there was room", full.Round(time.Second), filled>>20, ended.Round(100*time.Millisecond), behind, took.Round(100*time.Millisecond))
}

// fill writes a file until the disk is full, and returns its size.
func (s *site) fill(path string) (size int64) {
	s.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for block := 64 << 10; block > 0; {
		n, err := f.Write(make([]byte, block))
		size += int64(n)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			block /= 2
		case err != nil:
			s.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	return size
}

// TestFleetFaultAgentLost kills an agent for good while two servers are installed.
// Another machine takes the rack over; an operator says what to do with each device.
func TestFleetFaultAgentLost(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, "12")
	r := s.racks[0]
	s.apply()
	r.busy("server-01", rack.Installation)
	r.busy("server-02", rack.Installation)
	r.caughtUp(nsSoon)
	r.agent.kill()
	lost := time.Now()
	s.until(nsSoon, "the coordinator calls the agent away", func() bool { return !r.seen().GetAgent().GetConnected() })

	socket := r.host.home.Simulated(r.name)
	r.host = r.host.replaced("spare", nsSpare)
	r.agent = r.enrolled(r.host, "--adopt", "--socket", socket)
	r.agent.says("rack r1 is taken over: epoch 2")
	s.until(nsSoon, "it is connected", func() bool { return r.seen().GetAgent().GetConnected() })
	adopted := time.Since(lost)
	held := r.seen().GetLastSeq()
	status := string(s.center.run("status", r.name))
	if strings.Count(status, "uncertain") < 2 {
		t.Errorf("the coordinator does not call the servers uncertain:\n%s", status)
	}
	t.Logf("after the adoption:\n%s", status)
	s.center.run("retry", r.name+"/server-01", "--reason", "looked at its console")
	s.center.run("reimage", r.name+"/server-02", "--yes")
	s.completed()
	s.judge()
	t.Logf("RESULT agent lost: its rack taken over within %s, epoch 2 from event %d, two uncertain devices by order of an operator, completed after %s", adopted.Round(100*time.Millisecond), held, time.Since(lost).Round(time.Second))
}
