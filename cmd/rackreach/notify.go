package main

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// version is the release of this program, as it was built.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// notifyReady tells the service manager, if there is one, that what was started
// serves. A manager that does not hear it notices by itself.
func notifyReady() {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
}

// watchdog tells the service manager, if it wants to know, that all is well, for
// as long as healthy says so.
func watchdog(ctx context.Context, healthy func(context.Context) bool) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	t := time.NewTicker(every / 2)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if healthy(ctx) {
				_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		case <-ctx.Done():
			return
		}
	}
}
