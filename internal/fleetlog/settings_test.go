package fleetlog

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the embedded server acknowledges is on the disk: an agent forgets nothing
// earlier, and a power cut may come at any moment.
func TestEverythingIsSynced(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	if c := l.server.JetStreamConfig(); c == nil || !c.SyncAlways {
		t.Errorf("the server runs with %+v: an event could be acknowledged that a power cut takes away", c)
	}
}

// A table is read from its leader only, also when a server says otherwise of it: by
// default any replica may answer, with what was true before.
func TestTablesAreReadFromTheirLeader(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		for range 2 { // it is opened again by the next coordinator
			table, err := l.Table(t.Context(), "mine")
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.js.Stream(t.Context(), "KV_rackreach-mine")
			if err != nil {
				t.Fatal(err)
			}
			if s.CachedInfo().Config.AllowDirect {
				t.Error("any replica may answer for it")
			}
			if err := table.Put(t.Context(), "a", []byte("1")); err != nil {
				t.Fatal(err)
			}
			if v, _, err := table.Get(t.Context(), "a"); err != nil || string(v) != "1" {
				t.Errorf("what was written is read as %q, %v", v, err)
			}
		}
	})
}

// A log from the middle of which a message was taken is damaged, though its end is
// where it was: nothing may delete events.
func TestAMessageIsMissingInTheMiddle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := server.NewServer(&server.Options{ServerName: "rackreach", DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	defer stop()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	// As our own, but that somebody could delete from it.
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "RACKREACH_EVENTS", Description: "Events of racks, by rack", Subjects: []string{eventsSubject("*")},
		DenyPurge: true, AllowAtomicPublish: true, Storage: jetstream.FileStorage, Replicas: 1, Retention: jetstream.LimitsPolicy})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := js.Publish(t.Context(), eventsSubject("r1"), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	stop()
	l, err := Open(t.Context(), Options{Dir: dir})
	if err == nil {
		err = errors.Join(errors.New("it opens"), l.Close())
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("a log without its second message: %v", err)
	}
}
