package bus

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// mode is what a network does.
type mode int

const (
	pass   mode = iota
	refuse      // new connections end at once
	cut         // as refuse, and those that are open end
	freeze      // nothing comes through, and nothing ends
)

// proxy is a network between an agent and a coordinator.
type proxy struct {
	l       net.Listener
	to      string
	opened  atomic.Int64
	refused atomic.Int64
	wg      sync.WaitGroup

	mu    sync.Mutex
	mode  mode
	thaw  chan struct{} // closed when the network is not frozen any more
	conns map[net.Conn]bool
	ended bool
}

func newProxy(t testing.TB, l net.Listener, to string) *proxy {
	p := &proxy{l: l, to: to, conns: map[net.Conn]bool{}, thaw: make(chan struct{})}
	close(p.thaw)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) close() {
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if !ended {
		p.l.Close()
		p.set(cut)
	}
	p.wg.Wait()
}

func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == freeze && m != freeze {
		close(p.thaw)
	}
	if p.mode != freeze && m == freeze {
		p.thaw = make(chan struct{})
	}
	p.mode = m
	if m == cut {
		for c := range p.conns {
			c.Close()
		}
	}
}

func (p *proxy) now() (mode, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.thaw
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.opened.Add(1)
		if m, _ := p.now(); m == refuse || m == cut {
			p.refused.Add(1)
			c.Close()
			continue
		}
		d, err := net.Dial("tcp", p.to)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[d] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(c, d) })
		p.wg.Go(func() { p.pump(d, c) })
	}
}

// pump carries bytes one way, while the network is not frozen.
func (p *proxy) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		_, thaw := p.now()
		<-thaw
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}
