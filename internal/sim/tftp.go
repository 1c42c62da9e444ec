package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// TFTP opcodes (RFC 1350 §5, RFC 2347).
const (
	tftpRead  = 1
	tftpData  = 3
	tftpAck   = 4
	tftpError = 5
	tftpOACK  = 6
)

const tftpUnknownTID = 5 // error code (RFC 1350 §5)

const (
	tftpBlock   = 1428 // bytes: what fits an Ethernet frame (RFC 2348)
	tftpDefault = 512  // bytes: when the server ignores the option
	tftpTries   = 6    // transmissions of one packet
	maxScript   = 64 << 10
)

// fetchTFTP reads a small file from the agent's TFTP service, as firmware does.
// server is the logical address that DHCP named; the fabric knows the real one.
func (s *Sim) fetchTFTP(ctx context.Context, e *end, server netip.Addr, file string) (content []byte, err error) {
	to, ok := s.services().TFTP.(*net.UDPAddr)
	if !ok || !server.IsValid() || server.IsUnspecified() {
		return nil, fmt.Errorf("TFTP: no server (siaddr %s)", server)
	}
	c, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		return nil, fmt.Errorf("TFTP: %w", err)
	}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- c.Close() })
	defer func() {
		if stop() {
			closed <- c.Close()
		}
		err = errors.Join(err, <-closed)
	}()
	t := &tftpTransfer{sim: s, end: e, conn: c, peer: to.AddrPort(), block: tftpDefault}
	return t.run(ctx, file)
}

type tftpTransfer struct {
	sim    *Sim
	end    *end
	conn   *net.UDPConn
	peer   netip.AddrPort // the server; its transfer's port once it answered (RFC 1350 §4)
	locked bool           // peer's port is the transfer's
	block  int
}

func (t *tftpTransfer) run(ctx context.Context, file string) (content []byte, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	defer func() {
		if err != nil && t.locked && ctx.Err() == nil {
			err = errors.Join(err, t.send(append([]byte{0, tftpError, 0, 0}, "given up\x00"...)))
		}
	}()
	out := binary.BigEndian.AppendUint16(nil, tftpRead)
	for _, w := range []string{file, "octet", "blksize", strconv.Itoa(tftpBlock), "tsize", "0"} {
		out = append(append(out, w...), 0)
	}
	buf := make([]byte, 4+tftpBlock)
	for next := uint16(1); ; {
		n, err := t.roundTrip(ctx, out, buf, next)
		if err != nil {
			return nil, fmt.Errorf("TFTP %s: %w", file, err)
		}
		if binary.BigEndian.Uint16(buf) == tftpOACK {
			t.options(buf[2:n])
			out = []byte{0, tftpAck, 0, 0}
			continue
		}
		content = append(content, buf[4:n]...)
		if len(content) > maxScript {
			return nil, fmt.Errorf("TFTP %s: more than %d bytes", file, maxScript)
		}
		out = []byte{0, tftpAck, byte(next >> 8), byte(next)}
		next++
		if n-4 < t.block {
			return content, t.send(out)
		}
	}
}

func (t *tftpTransfer) send(b []byte) error {
	if !t.sim.fabric.pass(t.end, protoTFTP, fromDevice) {
		return nil // lost
	}
	_, err := t.conn.WriteToUDPAddrPort(b, t.peer)
	return err
}

// roundTrip sends until block next, or the server's options before block 1, arrive.
func (t *tftpTransfer) roundTrip(ctx context.Context, out, buf []byte, next uint16) (int, error) {
	for range tftpTries {
		if err := t.send(out); err != nil {
			return 0, err
		}
		if err := within(t.conn, t.sim.tempo.scaled(netRetry, floorTFTP)); err != nil {
			return 0, err
		}
		for {
			n, from, err := t.conn.ReadFromUDPAddrPort(buf)
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if isTimeout(err) {
				break
			}
			if err != nil {
				return 0, err
			}
			if done, err := t.take(buf[:n], from, next, out[1] == tftpRead); err != nil || done {
				return n, err
			}
		}
	}
	return 0, errors.New("the server does not answer")
}

// take looks at one packet: is it what the transfer waits for?
func (t *tftpTransfer) take(b []byte, from netip.AddrPort, next uint16, asked bool) (bool, error) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if len(b) < 4 || !t.sim.fabric.pass(t.end, protoTFTP, toDevice) {
		return false, nil
	}
	if t.locked && from != t.peer {
		// A second transfer, begun by a repeated request: RFC 1350 §4 has us end it.
		if !t.sim.fabric.pass(t.end, protoTFTP, fromDevice) {
			return false, nil
		}
		_, err := t.conn.WriteToUDPAddrPort(append([]byte{0, tftpError, 0, tftpUnknownTID}, "unknown transfer\x00"...), from)
		return false, err
	}
	switch binary.BigEndian.Uint16(b) {
	case tftpError:
		return false, fmt.Errorf("the server says %q", bytes.TrimRight(b[4:min(len(b), 132)], "\x00"))
	case tftpOACK:
		if !asked {
			return false, nil
		}
	case tftpData:
		if binary.BigEndian.Uint16(b[2:]) != next {
			return false, nil
		}
	default:
		return false, nil
	}
	t.peer, t.locked = from, true
	return true, nil
}

// options takes the block size that the server agreed to (RFC 2348).
func (t *tftpTransfer) options(b []byte) {
	words := bytes.Split(b, []byte{0})
	for i := 0; i+1 < len(words); i += 2 {
		if n, err := strconv.Atoi(string(words[i+1])); bytes.EqualFold(words[i], []byte("blksize")) && err == nil && n >= 8 && n <= tftpBlock {
			t.block = n
		}
	}
}
