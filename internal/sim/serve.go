package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	protocolVersion = 2                     // 2: racks speak to each other
	maxJoined       = 512                   // connections of agents and other racks at once; further ones wait unaccepted
	requestLimit    = 5 * time.Second       // for a connection to say what it is for
	handoverLimit   = 2 * time.Second       // for a killed agent's connections to end, before another's services are refused
	resetText       = "the path was closed" // of a frameReset, for those who read along
	pumpSize        = 32 << 10              // bytes of a stream at a time
)

// What a connection is for.
const (
	opJoin     = "join"     // lives as long as the agent
	opDial     = "dial"     // then carries what was dialled
	opServices = "services" // tells where the agent's services are
	opPeer     = "peer"     // another rack: then each tells the other of the cables between them
	opSwap     = "swap"     // plugs two cables the other way round
)

// request is the first message of every connection.
type request struct {
	Version int    `json:"version"`
	Op      string `json:"op"`
	Session int    `json:"session,omitempty"` // of the join
	PID     int    `json:"pid,omitempty"`     // of the agent that joins, as it says itself

	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"`

	From string `json:"from,omitempty"` // the rack that calls
	To   string `json:"to,omitempty"`   // the rack that it means to reach

	Swap string `json:"swap,omitempty"` // "tor-1:1=tor-1:2"

	DHCP netip.AddrPort `json:"dhcp"`
	TFTP netip.AddrPort `json:"tftp"`
	HTTP netip.AddrPort `json:"http"`
}

// answer is the rack's only message on a connection.
type answer struct {
	Error   string           `json:"error,omitempty"`
	Session int              `json:"session,omitempty"`
	Hello   *Hello           `json:"hello,omitempty"`
	Cable   []netip.AddrPort `json:"cable,omitempty"` // DHCP sockets of the ends on the agent's own cable
	Local   netip.AddrPort   `json:"local"`
}

// Hello is what a rack says of itself to an agent in another process.
type Hello struct {
	Rack     string  `json:"rack"`
	Speed    float64 `json:"speed"`
	Seed     uint64  `json:"seed"`
	User     string  `json:"user"` // that BMCs accept
	Password string  `json:"password"`
	// Agent is the process whose services the devices use at this moment; 0: there
	// is no such agent.
	Agent int `json:"agent,omitempty"`
}

// gateway is a rack that agents in other processes join.
type gateway struct {
	sim *Sim

	mu       sync.Mutex
	last     int
	sessions map[int]*session
	owner    *session      // whose services the devices use
	released chan struct{} // closed and replaced when there is no owner any more
}

// session is one agent's life, as its join connection tells it.
type session struct {
	id       int
	pid      int
	ctx      context.Context // ends with the agent
	end      context.CancelFunc
	services *Services // guarded by gateway.mu
}

// Serve lets agents in other processes join the rack, until ctx ends or the rack
// is closed; it returns when all of their connections have ended. l is closed.
// What a killed agent had open ends with it: its connections, and where its
// services were. The rack goes on.
func (s *Sim) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	closed := make(chan error, 1)
	context.AfterFunc(ctx, func() { closed <- ignoreClosed(l.Close()) })
	v := &gateway{sim: s, sessions: map[int]*session{}, released: make(chan struct{})}
	slots := make(chan struct{}, maxJoined)
	var running sync.WaitGroup
	var err error
	for ctx.Err() == nil && err == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		var c net.Conn
		if c, err = l.Accept(); err != nil {
			break
		}
		running.Go(func() {
			v.serve(ctx, newFramed(c))
			<-slots
		})
	}
	if ctx.Err() != nil {
		err = nil
	} else {
		err = fmt.Errorf("serve the simulated rack: %w", err)
	}
	cancel()
	err = errors.Join(err, <-closed)
	running.Wait()
	return err
}

// serve serves one connection. What goes wrong with it is the agent's trouble:
// it sees the connection end.
func (v *gateway) serve(ctx context.Context, f *framed) {
	defer context.AfterFunc(ctx, func() { f.Close() })()
	defer f.Close()
	var q request
	if f.SetReadDeadline(time.Now().Add(requestLimit)) != nil || f.hear(&q) != nil || f.SetReadDeadline(time.Time{}) != nil {
		return
	}
	if q.Version != protocolVersion {
		f.say(answer{Error: fmt.Sprintf("the simulated rack speaks version %d of its protocol, the caller version %d: start both from one release", protocolVersion, q.Version)})
		return
	}
	if q.Op == opJoin {
		v.join(ctx, f, q.PID)
		return
	}
	if q.Op == opPeer {
		v.peer(ctx, f, q)
		return
	}
	if q.Op == opSwap {
		x, err := ParseSwap(q.Swap)
		if err == nil {
			err = v.sim.Swap(x)
		}
		f.say(answer{Error: text(err)})
		return
	}
	n := v.session(q.Session)
	switch {
	case n == nil:
		f.say(answer{Error: "the agent's connection to the simulated rack has ended: join again"})
	case q.Op == opDial:
		v.dial(n, f, q)
	case q.Op == opServices:
		f.say(answer{Error: text(v.connect(n, q))})
	default:
		f.say(answer{Error: fmt.Sprintf("the simulated rack cannot %q", q.Op)})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (v *gateway) session(id int) *session {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sessions[id]
}

// join holds an agent's session until its connection ends.
func (v *gateway) join(ctx context.Context, f *framed, pid int) {
	ctx, end := context.WithCancel(ctx)
	v.mu.Lock()
	v.last++
	n := &session{id: v.last, pid: pid, ctx: ctx, end: end}
	v.sessions[n.id] = n
	agent := 0
	if v.owner != nil {
		agent = v.owner.pid
	}
	v.mu.Unlock()
	defer v.leave(n)
	s := v.sim
	a := answer{Session: n.id, Hello: &Hello{s.rack.Name, s.tempo.speed, s.tempo.seed, s.user, s.password, agent}}
	for _, to := range s.wires.cable() {
		a.Cable = append(a.Cable, to.AddrPort())
	}
	if f.say(a) != nil {
		return
	}
	f.receive() // an agent says nothing more: this is its end
}

// leave ends a session: its connections are reset, and devices find no services.
func (v *gateway) leave(n *session) {
	n.end()
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sessions, n.id)
	if v.owner != n {
		return
	}
	v.owner = nil
	v.sim.where.CompareAndSwap(n.services, &Services{})
	close(v.released)
	v.released = make(chan struct{})
}

// connect makes an agent's services those of the rack. Those of another agent
// are only replaced once it has gone; one that was killed goes at once.
func (v *gateway) connect(n *session, q request) error {
	to := Services{}
	if q.DHCP.IsValid() {
		to.DHCP = net.UDPAddrFromAddrPort(q.DHCP)
	}
	if q.TFTP.IsValid() {
		to.TFTP = net.UDPAddrFromAddrPort(q.TFTP)
	}
	if q.HTTP.IsValid() {
		to.HTTP = net.TCPAddrFromAddrPort(q.HTTP)
	}
	ctx, cancel := context.WithTimeout(n.ctx, handoverLimit)
	defer cancel()
	for {
		v.mu.Lock()
		free, released := v.owner == nil || v.owner == n, v.released
		if free && n.ctx.Err() == nil {
			v.owner, n.services = n, &to
			v.sim.where.Store(n.services)
			v.mu.Unlock()
			return nil
		}
		v.mu.Unlock()
		select {
		case <-released:
		case <-ctx.Done():
			return fmt.Errorf("another agent is at work on the simulated rack %s: stop it, or give each a rack of its own", v.sim.rack.Name)
		}
	}
}

// dial connects an agent to a device, for as long as the agent lives.
func (v *gateway) dial(n *session, f *framed, q request) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, func() { f.Close() })()
	var c net.Conn
	var err error
	if open, werr := f.whileOpen(cancel, func() { c, err = v.sim.Dial(ctx, q.Network, q.Address) }); !open || werr != nil {
		if c != nil {
			c.Close()
		}
		return
	}
	if err != nil {
		f.say(answer{Error: err.Error()})
		return
	}
	defer func() {
		if t, ok := c.(*conn); ok && n.ctx.Err() != nil {
			v.sim.fabric.cut(t) // as the kernel does for a process that is gone
			return
		}
		c.Close()
	}()
	if f.say(answer{Local: addrPort(c.LocalAddr())}) != nil {
		return
	}
	var down sync.WaitGroup
	defer down.Wait()
	if _, stream := c.(*conn); stream {
		down.Go(func() { pumpStream(f, c) })
	} else {
		down.Go(func() { pumpDatagrams(f, c) })
	}
	// Until the agent closes its side. What cannot be written is lost: a reset
	// reaches the agent by the other direction.
	for {
		k, b, err := f.receive()
		if err != nil || k != frameData {
			break
		}
		if _, err := c.Write(b); errors.Is(err, net.ErrClosed) {
			break
		}
	}
	f.Close()
	c.SetReadDeadline(interrupted)
}

// pumpStream takes a device's bytes to the agent, then how they ended.
func pumpStream(f *framed, c net.Conn) {
	b := make([]byte, pumpSize)
	for {
		n, err := c.Read(b)
		if n > 0 && f.send(frameData, b[:n]) != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			f.send(frameEnd, nil)
			return
		}
		if err != nil {
			f.send(frameReset, []byte(resetText))
			f.Close()
			return
		}
	}
}

// pumpDatagrams takes a device's datagrams to the agent.
func pumpDatagrams(f *framed, c net.Conn) {
	defer f.Close()
	b := make([]byte, maxFrame)
	for {
		n, err := c.Read(b)
		if err != nil || f.send(frameData, b[:n]) != nil {
			return
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort()
	case *net.UDPAddr:
		return a.AddrPort()
	}
	return netip.AddrPort{}
}
