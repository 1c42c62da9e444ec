package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of writing. They are wrapped.
var (
	// ErrFenced says that another agent has taken the rack since: its epoch is newer.
	ErrFenced = errors.New("another agent has taken the rack")
	// ErrGap says that events before these are missing.
	ErrGap = errors.New("events are missing")
	// ErrDiverged says that the log holds other events under the same numbers.
	ErrDiverged = errors.New("the log holds another history of the rack")
)

// Bounds.
const (
	startLimit   = 30 * time.Second // for the embedded server to read its store
	connectLimit = 10 * time.Second // for a cluster to answer
	writeLimit   = 15 * time.Second // for one message to be acknowledged; a cluster that elects a leader takes up to 6 s (measured)
	storeLimit   = 10 * time.Second // the same, of the embedded server: it writes to its disk, and asks nobody
	maxPayload   = 8 << 20          // bytes of a message of the embedded server
	maxBatch     = 512              // events of one message
	maxBytes     = 512 << 10        // bytes of one message, but for an event that is larger by itself
)

// Options say where the log is.
type Options struct {
	Dir         string // of the embedded server's store; used when URL is empty
	URL         string // of an existing cluster, "nats://a,nats://b"
	Credentials string // file of credentials for it; empty: none
	Replicas    int    // 0: 1 when embedded, 3 in a cluster
	Logger      *slog.Logger
}

// Log is the log of record, open.
type Log struct {
	o      Options
	lock   *flock.Flock
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	events jetstream.Stream
	orders jetstream.Stream

	failed chan error // why the embedded server's store takes nothing; holds one

	mu    sync.Mutex
	tails map[string]*tail
	hints hints
}

// Open opens the log, and makes what is not there. Errors say what holds it, or
// what of a cluster does not answer.
func Open(ctx context.Context, o Options) (_ *Log, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Replicas == 0 {
		o.Replicas = 1
		if o.URL != "" {
			o.Replicas = 3
		}
	}
	l := &Log{o: o, failed: make(chan error, 1), tails: map[string]*tail{}, hints: hints{at: map[hint]uint64{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	options := []nats.Option{nats.Name("rackreach coordinator"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.IgnoreAuthErrorAbort(), nats.Timeout(connectLimit),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Logger.Warn("the log cannot be reached; agents keep their events until it is back", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { o.Logger.Info("the log is reached again") })}
	where := o.URL
	if o.URL == "" {
		if err := l.embed(); err != nil {
			return nil, err
		}
		where = o.Dir
		options = append(options, nats.InProcessServer(l.server))
	} else if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if l.conn, err = nats.Connect(o.URL, options...); err != nil {
		return nil, fmt.Errorf("reach the log at %s: %w: look whether the NATS cluster runs, and at --nats and --nats-credentials", where, err)
	}
	if l.js, err = jetstream.New(l.conn); err != nil {
		return nil, fmt.Errorf("open the log at %s: %w", where, err)
	}
	if l.events, err = l.stream(ctx, jetstream.StreamConfig{Name: "RACKREACH_EVENTS", Description: "Events of racks, by rack", Subjects: []string{eventsSubject("*")},
		DenyDelete: true, DenyPurge: true}); err != nil {
		return nil, err
	}
	l.orders, err = l.stream(ctx, jetstream.StreamConfig{Name: "RACKREACH_ORDERS", Description: "Orders that their agents have not answered, by rack and id", Subjects: []string{"rackreach.orders.*.*"}})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// embed starts a server in this process. Nobody else can reach it.
func (l *Log) embed() error {
	if err := os.MkdirAll(l.o.Dir, 0o700); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	l.lock = flock.New(filepath.Join(l.o.Dir, "lock"), flock.SetPermissions(0o600))
	locked, err := l.lock.TryLock()
	if err != nil {
		return fmt.Errorf("open the log in %s: %w", l.o.Dir, err)
	}
	if !locked {
		l.lock = nil
		return fmt.Errorf("open the log in %s: another coordinator has it open: stop that one, or give this one another --state; several coordinators need a NATS cluster (--nats)", l.o.Dir)
	}
	s, err := server.NewServer(&server.Options{ServerName: "rackreach", DontListen: true, JetStream: true, StoreDir: l.o.Dir, SyncAlways: true,
		MaxPayload: maxPayload, NoSigs: true, NoLog: true})
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

func (l *Log) stream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	// Not AllowDirect: a replica that lags behind must not say where a rack stands.
	c.Storage, c.Replicas, c.Retention = jetstream.FileStorage, l.o.Replicas, jetstream.LimitsPolicy
	s, err := l.js.CreateOrUpdateStream(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open the stream %s of the log: %w", c.Name, err)
	}
	return s, nil
}

// Failed is sent why the store of the embedded server takes nothing any more: its
// disk is full, or has failed. The server does not recover when there is room again
// (measured, 2.15): the process has to end, and to be started anew. A cluster never
// fails in this way.
func (l *Log) Failed() <-chan error { return l.failed }

// write writes one message, and returns once it is durable.
func (l *Log) write(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	limit := writeLimit
	if l.server != nil {
		// Whoever asked may give up; whether the store takes it is to be known all the same.
		ctx, limit = context.WithoutCancel(ctx), storeLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, m, o...)
	if l.server != nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the log in %s has taken nothing for %s: its disk is full, or has failed (%w)", l.o.Dir, storeLimit, err)
		select {
		case l.failed <- err:
		default:
		}
	}
	return ack, err
}

// Close ends the use of the log.
func (l *Log) Close() error {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.server != nil {
		l.server.Shutdown()
		l.server.WaitForShutdown()
	}
	if l.lock != nil {
		return l.lock.Close()
	}
	return nil
}

// natsLog hands what the embedded server has to say to our own log.
type natsLog struct{ to *slog.Logger }

func (n natsLog) Noticef(format string, v ...any) { n.to.Debug(fmt.Sprintf(format, v...)) }
func (n natsLog) Warnf(format string, v ...any) {
	n.to.Warn("the log's server: " + fmt.Sprintf(format, v...))
}
func (n natsLog) Errorf(format string, v ...any) {
	n.to.Error("the log's server: " + fmt.Sprintf(format, v...))
}
func (n natsLog) Fatalf(format string, v ...any) {
	n.to.Error("the log's server: " + fmt.Sprintf(format, v...))
}
func (n natsLog) Debugf(string, ...any) {}
func (n natsLog) Tracef(string, ...any) {}
