package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
)

// lockFile is locked by the process that has the store open.
const lockFile = "lock"

// embed starts a server in this process. Nobody else can reach it.
func (l *Log) embed() error {
	if err := os.MkdirAll(l.o.Dir, 0o700); err != nil {
		return fmt.Errorf("open the log in %s: %w", l.o.Dir, err)
	}
	lock := flock.New(filepath.Join(l.o.Dir, lockFile), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return errors.Join(fmt.Errorf("open the log in %s: lock it: %w", l.o.Dir, err), lock.Close())
	}
	if !locked {
		return errors.Join(fmt.Errorf("open the log in %s: another coordinator has it open: stop that one, or give this one another --state; several coordinators need a NATS cluster (--nats)", l.o.Dir), lock.Close())
	}
	l.lock = lock
	if err := l.writable(); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{ServerName: "rackreach", DontListen: true, JetStream: true, StoreDir: l.o.Dir, SyncAlways: true,
		// By default a server takes three quarters of what is free when it starts,
		// and its own store counts against that: after a restart a log that had
		// filled most of the disk could not be written to. The disk is the limit.
		JetStreamMaxStore: math.MaxInt64 / 2,
		MaxPayload:        maxPayload, NoSigs: true, NoLog: true})
	if err != nil {
		return fmt.Errorf("open the log in %s: %w", l.o.Dir, err)
	}
	l.server = s
	s.SetLoggerV2(natsLog{l.o.Logger}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startLimit) || !s.JetStreamEnabled() {
		return fmt.Errorf("open the log in %s: its store cannot be read, or not be written to: look at the messages before this one, and at the disk", l.o.Dir)
	}
	return nil
}

// stopEmbedded ends the server and lets the directory go.
func (l *Log) stopEmbedded() error {
	if l.server != nil {
		l.server.Shutdown()
		l.server.WaitForShutdown()
	}
	if l.lock != nil {
		return l.lock.Close()
	}
	return nil
}

// writable says at once what a full or read-only disk would say later.
func (l *Log) writable() error {
	probe := filepath.Join(l.o.Dir, "probe")
	err := os.WriteFile(probe, make([]byte, 4<<10), 0o600)
	if removed := os.Remove(probe); err == nil && !errors.Is(removed, fs.ErrNotExist) {
		err = removed
	}
	if err != nil {
		return fmt.Errorf("open the log in %s: it cannot be written to: %w: make room on its disk, or look at its permissions", l.o.Dir, err)
	}
	return nil
}

// natsLog hands what the embedded server has to say to our own log.
type natsLog struct{ to *slog.Logger }

func (n natsLog) say(level slog.Level, format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if level == slog.LevelWarn && strings.Contains(text, "generally discouraged") {
		level = slog.LevelDebug // of our own maxPayload, at each start
	}
	n.to.Log(context.Background(), level, "the log's server: "+text)
}

func (n natsLog) Noticef(format string, v ...any) { n.say(slog.LevelDebug, format, v...) }
func (n natsLog) Warnf(format string, v ...any)   { n.say(slog.LevelWarn, format, v...) }
func (n natsLog) Errorf(format string, v ...any)  { n.say(slog.LevelError, format, v...) }
func (n natsLog) Fatalf(format string, v ...any)  { n.say(slog.LevelError, format, v...) }
func (n natsLog) Debugf(string, ...any)           {}
func (n natsLog) Tracef(string, ...any)           {}
