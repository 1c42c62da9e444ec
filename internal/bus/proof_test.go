//go:build proof

package bus

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// What the proof compares: proto.actor's remote and the bus, when their peer is
// frozen (SIGSTOP) and then killed (SIGKILL), and comes back. It is the evidence of
// docs/adr/0001. See "make proof-transport".
const (
	proofBefore = 2_000  // messages while the peer lives
	proofWhile  = 10_000 // while it is frozen
	proofAfter  = 50     // once it was killed, before it is noticed
)

// TestProofPeer is no test of its own: it is the peer that TestProof starts.
func TestProofPeer(t *testing.T) {
	kind, where, _ := strings.Cut(os.Getenv("PROOF_PEER"), " ")
	switch kind {
	case "remote":
		remotePeer(where)
	case "bus":
		busPeer(t, where)
	default:
		t.Log("only for TestProof")
	}
}

func quiet() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}))
}

// remotePeer counts the messages that come, and says the count.
func remotePeer(port string) {
	n, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	system := quiet()
	remote.NewRemote(system, remote.Configure("127.0.0.1", n)).Start()
	count := 0
	if _, err := system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*messages.EventAck); ok {
			count++
			fmt.Printf("got %d\n", count)
		}
	}), "sink"); err != nil {
		panic(err)
	}
	fmt.Println("got 0")
	select {}
}

// busPeer is a Door on the log of record in a directory; it says what that holds.
func busPeer(t *testing.T, where string) {
	address, dir, _ := strings.Cut(where, " ")
	log, err := fleetlog.Open(t.Context(), fleetlog.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDoor(DoorOptions{Log: proofLog{log}, KeepaliveEvery: 200 * time.Millisecond,
		Rack: func(context.Context) (string, error) { return "", nil },
		Attach: func(string, *messages.Hello, uint64) Attachment {
			return &line{orders: make(chan *messages.Order), kicked: make(chan struct{})}
		}})
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewBusServiceHandler(d, connect.WithReadMaxBytes(MaxMessage)))
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Second}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		for last := uint64(1); ; time.Sleep(5 * time.Millisecond) {
			if h, err := log.Head(context.Background(), "r1"); err == nil && h.Seq != last {
				last = h.Seq
				fmt.Printf("got %d\n", last)
			}
		}
	}()
	t.Fatal(server.Serve(l))
}

// proofLog is the real log as a Door sees it.
type proofLog struct{ *fleetlog.Log }

func (p proofLog) Head(ctx context.Context, rack string) (Head, error) {
	h, err := p.Log.Head(ctx, rack)
	return Head{Epoch: h.Epoch, Journal: h.Journal, Seq: h.Seq, Sum: h.Sum}, err
}

func (p proofLog) Claim(ctx context.Context, rack, journal string, _ Head) (Head, error) {
	h, err := p.Log.Head(ctx, rack)
	if err == nil {
		h, err = p.Log.Claim(ctx, rack, journal, h)
	}
	return Head{Epoch: h.Epoch, Journal: h.Journal, Seq: h.Seq, Sum: h.Sum}, err
}

// peer is the process at the other end.
type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	got atomic.Int64 // what it said last
}

func startPeer(t *testing.T, what string) *peer {
	p := &peer{t: t, cmd: exec.Command(os.Args[0], "-test.run", "^TestProofPeer$", "-test.v")}
	p.cmd.Env = append(os.Environ(), "PROOF_PEER="+what)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	go func() {
		first := true
		for s := bufio.NewScanner(out); s.Scan(); {
			if n, err := strconv.ParseInt(strings.TrimPrefix(s.Text(), "got "), 10, 64); err == nil {
				p.got.Store(n)
				if first {
					first = false
					close(up)
				}
			}
		}
	}()
	select {
	case <-up:
	case <-time.After(patience):
		t.Fatal("the peer does not come up")
	}
	return p
}

func (p *peer) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) kill() {
	p.signal(syscall.SIGKILL)
	_ = p.cmd.Wait() // it says that it was killed
}

func proofPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func TestProof(t *testing.T) {
	fmt.Printf("%-28s %8s %8s %8s %8s\n", "peer frozen, killed, back", "sent", "arrived", "lost", "reported")
	proofBus(t)
	proofRemote(t)
	leaks = append(leaks, goleak.IgnoreCurrent()) // remote does not end its goroutines
}

func tell(name string, sent, arrived, reported int64) {
	fmt.Printf("%-28s %8d %8d %8d %8d\n", name, sent, arrived, sent-arrived, reported)
	fmt.Printf("RESULT %s_lost %d\nRESULT %s_reported %d\n", name, sent-arrived, name, reported)
}

func proofRemote(t *testing.T) {
	port := proofPort(t)
	p := startPeer(t, "remote "+port)
	system := quiet()
	var dead atomic.Int64
	system.EventStream.Subscribe(func(e any) {
		if d, ok := e.(*actor.DeadLetterEvent); ok {
			if _, ours := d.Message.(*messages.EventAck); ours {
				dead.Add(1)
			}
		}
	})
	r := remote.NewRemote(system, remote.Configure("127.0.0.1", 0))
	r.Start()
	sink := actor.NewPID("127.0.0.1:"+port, "sink")
	sent := int64(0)
	send := func(n int) {
		for range n {
			sent++
			system.Root.Send(sink, &messages.EventAck{Seq: uint64(sent)})
		}
	}
	send(proofBefore)
	until(t, "the first arrive", func() bool { return p.got.Load() == proofBefore })
	p.signal(syscall.SIGSTOP)
	send(proofWhile)
	time.Sleep(15 * time.Second) // for whoever notices
	p.kill()
	send(proofAfter)
	time.Sleep(5 * time.Second)
	arrived := p.got.Load()
	q := startPeer(t, "remote "+port)
	time.Sleep(20 * time.Second) // to be sent again, if anything is
	arrived += q.got.Load()
	q.kill()
	tell("remote", sent, arrived, dead.Load())
}

func proofBus(t *testing.T) {
	address, dir := "127.0.0.1:"+proofPort(t), t.TempDir()
	p := startPeer(t, "bus "+address+" "+dir)
	j := newOwn()
	a := newAgent(t, "http://"+address, j, func(o *UplinkOptions) { o.HeartbeatEvery = 200 * time.Millisecond })
	j.add(proofBefore)
	until(t, "the first arrive", func() bool { return p.got.Load() == proofBefore })
	p.signal(syscall.SIGSTOP)
	j.add(proofWhile)
	time.Sleep(15 * time.Second)
	p.kill()
	j.add(proofAfter)
	time.Sleep(5 * time.Second)
	q := startPeer(t, "bus "+address+" "+dir)
	until(t, "all arrive", func() bool { return q.got.Load() == int64(j.Last()) })
	a.mu.Lock()
	acked := int64(a.state.Acked)
	a.mu.Unlock()
	a.stop()
	q.kill()
	tell("bus", int64(j.Last()), q.got.Load(), int64(j.Last())-acked)
}
