package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds.
const (
	startLimit   = time.Minute            // for any answer of the embedded server, which loses none (it may read its whole store first), and for a cluster to make a stream
	connectLimit = 10 * time.Second       // for a cluster to answer
	writeLimit   = 15 * time.Second       // for one message to be acknowledged, or an answer of a cluster that runs; one that elects a leader takes up to 6 s (measured)
	answerLimit  = 5 * time.Second        // for one answer of a cluster that begins: while its servers sort out who holds which route to whom, an answer may get lost for good (seen, 2.15)
	startPoll    = 250 * time.Millisecond // between two tries to open a stream of a cluster that begins
	maxPayload   = maxValue + 1<<20       // bytes of a message of the embedded server: any value, with room for headers
	maxBatch     = 512                    // events of one message
	maxBytes     = 512 << 10              // bytes of one message, but for an event that is larger by itself
)

// noPeers is JSClusterNoPeers of NATS: fewer servers are there than a stream needs. The
// leader of a cluster that begins says so until it has heard of the others.
const noPeers jetstream.ErrorCode = 10005

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

	committer *committer
	opened    bool
	failed    chan error // why the embedded server's store takes nothing; holds one

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
	if o.URL == "" {
		if err := l.embed(); err != nil {
			return nil, err
		}
		options = append(options, nats.InProcessServer(l.server))
	} else if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if l.conn, err = nats.Connect(o.URL, options...); err != nil {
		return nil, fmt.Errorf("reach the log at %s: %w: look whether the NATS cluster runs, and at --nats and --nats-credentials", l.where(), err)
	}
	// The library's own five seconds are too few for the largest value on a slow machine.
	limit := writeLimit
	if l.server != nil {
		limit = startLimit
	}
	if l.js, err = jetstream.New(l.conn, jetstream.WithDefaultTimeout(limit)); err != nil {
		return nil, fmt.Errorf("open the log at %s: %w", l.where(), err)
	}
	if l.server != nil {
		if err := l.checkMark(ctx); err != nil {
			return nil, err
		}
	}
	if l.events, err = l.stream(ctx, jetstream.StreamConfig{Name: "RACKREACH_EVENTS", Description: "Events of racks, by rack", Subjects: []string{eventsSubject("*")},
		DenyDelete: true, DenyPurge: true, AllowAtomicPublish: true}); err != nil {
		return nil, err
	}
	if err := l.whole(ctx); err != nil {
		return nil, err
	}
	l.orders, err = l.stream(ctx, jetstream.StreamConfig{Name: "RACKREACH_ORDERS", Description: "Orders that their agents have not answered, by rack and id", Subjects: []string{orderSubject("*", "*")}})
	if err != nil {
		return nil, err
	}
	if l.server != nil {
		if err := l.mark(ctx); err != nil {
			return nil, err
		}
	}
	few := 1
	if l.server != nil {
		few = fewAlone
	}
	l.committer = newCommitter(l.conn, l.js, l.events.CachedInfo().Config.AllowAtomicPublish, few, l.broken)
	l.opened = true
	return l, nil
}

func (l *Log) stream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	// Not AllowDirect: a replica that lags behind must not say where a rack stands.
	c.Storage, c.Replicas, c.Retention = jetstream.FileStorage, l.o.Replicas, jetstream.LimitsPolicy
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		s, err := l.tryStream(ctx, c)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return nil, fmt.Errorf("open the log at %s: its servers, or the account of the credentials, have no JetStream: switch it on there: %w", l.where(), err)
		case l.o.URL == "" || !isPassing(err):
			return nil, fmt.Errorf("open the stream %s of the log at %s: %w", c.Name, l.where(), explained(err))
		}
		// A cluster that has just begun has no leader yet, or not all of its servers.
		select {
		case <-time.After(startPoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("open the stream %s of the log at %s, on %d servers: %w: look whether as many run", c.Name, l.where(), c.Replicas, err)
		}
	}
}

// tryStream asks once for a stream. Asking again for one that was made changes nothing.
func (l *Log) tryStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	limit := startLimit // the embedded server loses nothing, and reads a store as long as it takes
	if l.server == nil {
		limit = answerLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return l.js.CreateOrUpdateStream(ctx, c)
}

// isPassing reports whether a cluster that has just begun may say so.
func isPassing(err error) bool {
	var e *jetstream.APIError
	if errors.As(err, &e) {
		return e.Code >= 500 || e.ErrorCode == noPeers
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders)
}

// Alone reports whether no other coordinator can be on this log: it is embedded.
func (l *Log) Alone() bool { return l.server != nil }

// where is the log, for people.
func (l *Log) where() string {
	if l.o.URL != "" {
		return l.o.URL
	}
	return l.o.Dir
}

// Failed is sent why the store of the embedded server takes nothing any more: its
// disk is full, or has failed. The server does not recover when there is room again
// (measured, 2.15): the process has to end, and to be started anew. A cluster never
// fails in this way.
func (l *Log) Failed() <-chan error { return l.failed }

// broken is told that a write failed, and not because it was refused.
func (l *Log) broken(err error) {
	if l.server == nil {
		return
	}
	select {
	case l.failed <- fmt.Errorf("the log in %s takes nothing: its disk is full, or has failed (%w)", l.o.Dir, err):
	default:
	}
}

// Close ends the use of the log. Writes that wait end with ErrClosed.
func (l *Log) Close() error {
	if l.committer != nil {
		l.committer.close()
	}
	if l.server != nil && l.opened && l.server.JetStreamEnabled() {
		if err := l.mark(context.Background()); err != nil { // an older one is still true
			l.o.Logger.Warn("how far the log reaches cannot be noted", "error", err)
		}
	}
	if l.conn != nil {
		l.conn.Close()
	}
	return l.stopEmbedded()
}
