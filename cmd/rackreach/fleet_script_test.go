package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// scriptPatience bounds what a script waits for; it is no measure of speed.
const scriptPatience = time.Minute

// asked waits until the coordinator of the state directory answers (asked fleet),
// says that its fleet stands like that (asked status STATUS), or that the agent of a
// rack is connected (asked agent RACK), or away.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: asked fleet|status STATUS|agent RACK|away RACK")
	}
	home := state.Home(ts.Getenv("RACKREACH_STATE"))
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
		ok := coordinatorSays(ctx, home, args)
		cancel()
		if ok {
			return
		}
	}
	ts.Fatalf("asked %s: it did not come to that", strings.Join(args, " "))
}

func coordinatorSays(ctx context.Context, home state.Home, args []string) bool {
	client, err := api.Dial(ctx, home.Coordinator())
	if err != nil {
		return false
	}
	defer client.Close()
	a, err := client.Fleet.GetFleet(ctx, connect.NewRequest(&messages.GetFleetRequest{}))
	if err != nil {
		return false
	}
	switch args[0] {
	case "fleet":
		return true
	case "status":
		return a.Msg.GetFleet().GetStatus() == args[1]
	}
	for _, r := range a.Msg.GetFleet().GetRacks() {
		if r.GetName() == messages.RackName(args[1]) && r.GetAgent().GetConnected() == (args[0] == "agent") {
			return true
		}
	}
	return false
}

// fromFile puts the first line of a file into a variable.
func fromFile(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// serverURL puts the URL of the coordinator of a state directory into a variable: an
// enrollment token says it.
func serverURL(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	client, err := api.Dial(ctx, state.Home(args[1]).Coordinator())
	ts.Check(err)
	defer client.Close()
	a, err := client.Access.CreateEnrollment(ctx, connect.NewRequest(&messages.CreateEnrollmentRequest{Rack: "url"}))
	ts.Check(err)
	t, err := pki.ParseToken(a.Msg.GetToken())
	ts.Check(err)
	ts.Setenv(args[0], t.URL)
}

// serveNATS serves a NATS server with JetStream until the script ends, and puts its URL
// into a variable: serveNATS VARIABLE.
func serveNATS(ts *testscript.TestScript, _ bool, args []string) {
	s, err := natsserver.NewServer(&natsserver.Options{ServerName: "n1", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: ts.MkAbs("nats"), NoSigs: true, NoLog: true})
	ts.Check(err)
	s.Start()
	ts.Defer(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(scriptPatience) {
		ts.Fatalf("the NATS server does not serve")
	}
	ts.Setenv(args[0], s.ClientURL())
}

// findCA puts the path of the authority's certificate of a coordinator into a
// variable.
func findCA(ts *testscript.TestScript, _ bool, args []string) {
	found, err := filepath.Glob(filepath.Join(args[1], "coordinator", "pki", "*", "ca.crt"))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("%d authorities in %s", len(found), args[1])
	}
	ts.Setenv(args[0], found[0])
}
