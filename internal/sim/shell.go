package sim

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// homeVLAN is where systems are managed.
const homeVLAN = 1

const (
	maxFile    = 1 << 20 // bytes of a file of a simulated system
	maxFiles   = 64
	shellLimit = time.Minute // for a login
)

// shell is the SSH server of a running system. It stands in for the shell of a network
// operating system, and knows a few commands only (those of servers: persona.go):
//
//	cat PATH                        shows a file
//	apply-config PATH               puts the configuration in a file in force
//	apply-config PATH SECONDS       the same, and takes it back unless confirmed in time
//	show-config                     shows the configuration that is in force
//	confirm-config                  confirms it
//	lldpctl -f json                 shows its neighbours, as lldpd's client does
//	bridge -j fdb show              shows its MAC table, as iproute2 does; both also as SONiC
//	                                and EOS are asked (shell_ports.go)
//	boot-installer                  reboots into ONIE, for one boot
//	sh -c '…' NAME TEMP PATH N MODE takes in a file of N bytes from its standard input
//	sh PATH apply SECONDS, confirm, show
//	                                what the script of a management switch does (switch_script.go)
type shell struct {
	*system
	address netip.Addr
	id      identity
	config  *ssh.ServerConfig
	end     *end
	api     netip.AddrPort // where the system really listens
	console netip.AddrPort

	mu      sync.Mutex
	pending context.CancelFunc // of a configuration that is not confirmed; nil: none
}

// receiving is the command with which a file is sent: what the shell's own script does
// is not played, only what comes of it.
var receiving = regexp.MustCompile(`^sh -c '.*' \S+ '[^']+' '(/[^']+)' (\d{1,7}) [0-7]{4}$`)

var (
	showing  = regexp.MustCompile(`^cat (/\S+)$`)
	applying = regexp.MustCompile(`^apply-config (/\S+)(?: (\d{1,5}))?$`)
)

// newShell makes the server; its host key is that of the installation.
func (y *system) newShell(e *end, address netip.Addr, id identity, api, console netip.AddrPort) (*shell, error) {
	key := y.host.readDisk().hostKey
	if key == nil {
		_, fresh, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		key = fresh
		y.host.writeDisk(func(x *disk) { x.hostKey = fresh })
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	s := y.host.dev.sim
	c := &ssh.ServerConfig{PasswordCallback: func(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if m.User() != s.user || string(password) != s.password {
			return nil, errors.New("wrong user or password")
		}
		return nil, nil
	}}
	c.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if m.User() != s.user || strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) != y.host.readDisk().first.key {
			return nil, errors.New("nobody's key")
		}
		return nil, nil
	}
	c.AddHostKey(signer)
	return &shell{system: y, address: address, id: id, config: c, end: e, api: api, console: console}, nil
}

// serve takes connections until the system goes down.
func (h *shell) serve(l net.Listener) error {
	stop := context.AfterFunc(h.ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			return ignoreClosed(err)
		}
		if !h.host.dev.sim.spawn(func() { h.talk(c) }) {
			return c.Close()
		}
	}
}

func (h *shell) talk(c net.Conn) {
	defer context.AfterFunc(h.ctx, func() { _ = c.Close() })()
	defer c.Close() //nolint:errcheck // the other side has gone, or will see it
	if c.SetDeadline(time.Now().Add(shellLimit)) != nil {
		return
	}
	conn, channels, requests, err := ssh.NewServerConn(c, h.config)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // as above
	if c.SetDeadline(time.Time{}) != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		if n.ChannelType() != "session" {
			if n.Reject(ssh.UnknownChannelType, "sessions only") != nil {
				return
			}
			continue
		}
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		h.session(channel, requests)
	}
}

// session runs one command.
func (h *shell) session(c ssh.Channel, requests <-chan *ssh.Request) {
	defer c.Close() //nolint:errcheck // as above
	for r := range requests {
		if r.Type != "exec" || len(r.Payload) < 4 {
			if r.WantReply && r.Reply(false, nil) != nil {
				return
			}
			continue
		}
		if r.Reply(true, nil) != nil {
			return
		}
		status := uint32(0)
		if err := h.run(string(r.Payload[4:]), c); err != nil {
			status = 1
			if _, err := fmt.Fprintln(c.Stderr(), err); err != nil {
				return
			}
		}
		_, _ = c.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
		return
	}
}

func (h *shell) run(command string, c io.ReadWriter) error {
	if known, err := h.showPorts(strings.TrimPrefix(command, "sudo "), c); known {
		return err
	}
	if k := h.host.dev.conduct; k != nil && k.run != nil {
		if known, err := k.run(h, command, c); known {
			return err
		}
		command = strings.TrimPrefix(command, "sudo ")
	}
	if m := receiving.FindStringSubmatch(command); m != nil {
		size, err := strconv.Atoi(m[2])
		if err != nil || size > maxFile {
			return errors.New("no space left on device")
		}
		content := make([]byte, size)
		if _, err := io.ReadFull(c, content); err != nil {
			return err
		}
		if err := h.put(m[1], content); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c, "in place: %d bytes\n", size)
		return err
	}
	if x := h.host.readDisk(); x.system != "" {
		return h.obey(x.system, command, c)
	}
	if m := showing.FindStringSubmatch(command); m != nil {
		content, ok := h.host.readDisk().files[m[1]]
		if !ok {
			return fmt.Errorf("cat: %s: No such file or directory", m[1])
		}
		return h.shows(c, string(content))
	}
	if m := applying.FindStringSubmatch(command); m != nil {
		return h.take(m[1], m[2])
	}
	switch command {
	case "show-config":
		return h.shows(c, string(h.host.readDisk().config))
	case "confirm-config":
		if !h.confirmed() {
			return errors.New("nothing waits to be confirmed")
		}
		return nil
	case "boot-installer":
		if !h.host.dev.onie {
			return errors.New("there is no installer")
		}
		h.host.chooseInstaller()
		time.AfterFunc(h.host.dev.sim.tempo.scaled(rebootWait, floorNet), h.stop)
		return nil
	}
	return fmt.Errorf("%.40q: command not found", command)
}

func (h *shell) put(path string, content []byte) (err error) {
	h.host.writeDisk(func(x *disk) {
		files := maps.Clone(x.files)
		if files == nil {
			files = map[string][]byte{}
		}
		if len(files) >= maxFiles && files[path] == nil {
			err = errors.New("no space left on device")
			return
		}
		files[path] = content
		x.files = files
	})
	return err
}

// take puts the configuration of a file in force; with a time, it takes it back unless
// it is confirmed.
func (h *shell) take(path, seconds string) error {
	x := h.host.readDisk()
	content, ok := x.files[path]
	if !ok {
		return fmt.Errorf("%s: no such file", path)
	}
	before := x.config
	if err := h.commit(h.ctx, content, h.address, h.id); err != nil {
		return err
	}
	if c, err := parseConfig(content); err == nil && c.cutsOff() {
		h.host.dev.sim.fabric.offer(h.end, netip.AddrPort{}, netip.AddrPort{}) // nobody reaches it
	}
	if seconds == "" {
		return nil
	}
	n, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	h.confirmed() // what came before is in force, whether it was confirmed or not
	ctx, cancel := context.WithCancel(h.ctx)
	h.mu.Lock()
	h.pending = cancel
	h.mu.Unlock()
	if !h.host.dev.sim.spawn(func() {
		if pause(ctx, h.host.dev.sim.tempo.scaled(time.Duration(n)*time.Second, floorNet)) == nil && h.confirmed() {
			h.revert(before)
		}
	}) {
		cancel()
	}
	return nil
}

// confirmed takes away the right to revert, and says whether somebody had it.
func (h *shell) confirmed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.pending
	if h.pending = nil; was != nil {
		was()
	}
	return was != nil
}

// revert puts an earlier configuration back; nil: none, and nothing is forwarded.
func (h *shell) revert(config []byte) {
	h.host.writeDisk(func(x *disk) { x.config = config })
	ports := []string{}
	if config != nil {
		var err error
		if ports, err = portsOf(config); err != nil {
			ports = nil
		}
	}
	d := h.host.dev
	d.sim.fabric.offer(h.end, h.api, h.console)
	d.sim.record.add(kindConfigReverted, d.spec.Name, nil, detail{})
	if d.spec.Role.IsSwitch() {
		d.sim.fabric.forward(d.spec.Name, ports)
	}
}
