package power

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Payload types of RMCP+ (IPMI 2.0 table 13-16), and a mark for the one
// question that go-ipmi asks in IPMI 1.5 framing.
const (
	payloadIPMI         = uint8(types.PayloadTypeIPMI)
	payloadOpenRequest  = uint8(types.PayloadTypeRmcpOpenSessionRequest)
	payloadOpenResponse = uint8(types.PayloadTypeRmcpOpenSessionResponse)
	payloadRAKP1        = uint8(types.PayloadTypeRAKPMessage1)
	payloadRAKP2        = uint8(types.PayloadTypeRAKPMessage2)
	payloadRAKP3        = uint8(types.PayloadTypeRAKPMessage3)
	payloadRAKP4        = uint8(types.PayloadTypeRAKPMessage4)
	framing15           = 0xff
)

const (
	rmcpHeader  = 4          // bytes: version, reserved, sequence, class
	rmcpPlus    = 12         // bytes: session header of RMCP+ (IPMI 2.0 table 13-8)
	rmcpClass   = 0x07       // message class IPMI
	rmcpVersion = 0x06       // RMCP version 1.0
	authPlus    = 0x06       // authentication type "RMCP+"
	flagsSealed = byte(0xc0) // payload type bits: encrypted, authenticated
	minIPMI     = 7          // bytes of the shortest IPMI response (§13.8)
	minSetup    = 8          // bytes of the shortest answer of a session's setup
	minRefusal  = 2          // bytes of the shortest refusal there
	rakp2Fixed  = 40         // bytes of RAKP message 2 before its authentication code (§13.21)
	openedSize  = 36         // bytes of a successful open session response (§13.18)
	openAuth    = 16         // offset of the authentication algorithm in that response; the others follow at 8 bytes each
)

// guard is the wire to one BMC. It follows the session's setup in both
// directions, drops every datagram that is not a sound answer to the last
// question, and counts those.
//
// Invariant: once k1 is set, only datagrams whose authentication code was
// computed with it pass.
type guard struct {
	net.Conn
	user, password string

	mu       sync.Mutex
	stopped  bool   // reads time out at once, writes fail
	dropped  int    // datagrams that were dropped
	awaiting uint8  // payload type of the answer that may come now
	console  uint32 // session ids
	bmc      uint32
	algs     [3]byte // authentication, integrity, confidentiality, as asked for
	role     byte
	rand     [2][]byte // console's, BMC's
	guid     []byte    // from RAKP message 2; nil before
	k1, k2   []byte

	status  types.RmcpStatusCode // of the last setup answer
	badCode bool                 // the last RAKP message 2 does not fit our password; kept while other suites are tried
}

// Write notes what is asked, and sends it.
func (g *guard) Write(p []byte) (int, error) {
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	err := g.asked(p)
	g.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}

// Read returns the next datagram that is a sound answer.
func (g *guard) Read(p []byte) (int, error) {
	for {
		n, err := g.Conn.Read(p)
		if err != nil {
			return 0, err
		}
		if g.admit(p[:n]) {
			return n, nil
		}
	}
}

// SetReadDeadline passes the library's deadline on, unless the conversation
// was stopped.
func (g *guard) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		t = time.Now()
	}
	return g.Conn.SetReadDeadline(t)
}

// stop ends the read that waits and lets no other wait; resume undoes it.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	if err := g.Conn.SetReadDeadline(time.Now()); err != nil {
		g.dropped++ // a wire that takes no deadline is closed already: nothing waits on it
	}
}

func (g *guard) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = false
}

// verdict is what the guard knows about a failed setup; nil when the BMC
// refused nothing.
func (g *guard) verdict() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.badCode || g.status != types.RmcpStatusCodeNoErrors {
		return &loginRefusal{status: g.status, badCode: g.badCode}
	}
	return nil
}

func (g *guard) seen() (guid []byte, dropped int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guid, g.dropped
}

// asked follows the questions. The library's own packets are well formed; an
// error here means that it changed its ways.
func (g *guard) asked(p []byte) error {
	if len(p) > rmcpHeader && p[rmcpHeader] != authPlus {
		g.awaiting = framing15
		return nil
	}
	_, _, kind, _, body, ok := protocol.ParseRMCPPlusHeader(p)
	if !ok {
		return fmt.Errorf("%w: our own question of %d bytes", errUndecodable, len(p))
	}
	switch {
	case kind == payloadOpenRequest && len(body) >= 32: // §13.17
		g.awaiting, g.k1, g.k2 = payloadOpenResponse, nil, nil
		g.console = binary.LittleEndian.Uint32(body[4:])
		g.algs = [3]byte{body[12], body[20], body[28]}
		g.status = types.RmcpStatusCodeNoErrors
	case kind == payloadRAKP1 && len(body) >= 28: // §13.20
		g.awaiting, g.rand[0], g.role = payloadRAKP2, append([]byte(nil), body[8:24]...), body[24]
	case kind == payloadRAKP3:
		g.awaiting = payloadRAKP4
		return g.derive()
	case kind == payloadIPMI:
		g.awaiting = payloadIPMI
	default:
		return fmt.Errorf("%w: our own question of type 0x%02x", errUndecodable, kind)
	}
	return nil
}

// derive computes the session's keys (§13.31, §13.32).
func (g *guard) derive() error {
	key := crypto.PadPassword20([]byte(g.password))
	_, k1, k2, err := crypto.DeriveSessionKeys(types.AuthAlg(g.algs[0]), g.rand[0], g.rand[1], g.role, g.user, key)
	if err != nil {
		return fmt.Errorf("derive session keys: %w", err)
	}
	if len(k1) == 0 || len(k2) < 16 {
		return fmt.Errorf("%w: session keys of %d and %d bytes", errUndecodable, len(k1), len(k2))
	}
	g.k1, g.k2 = k1, k2
	return nil
}

// admit reports whether a datagram answers the last question, soundly.
func (g *guard) admit(p []byte) (ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if recover() != nil {
			ok = false
		}
		if !ok {
			g.dropped++
		}
	}()
	if len(p) <= rmcpHeader || p[0] != rmcpVersion || p[3] != rmcpClass {
		return false
	}
	if p[rmcpHeader] == byte(types.AuthTypeNone) { // §13.6, IPMI 1.5 framing
		const header = rmcpHeader + 10
		return g.awaiting == framing15 && len(p) >= header+minIPMI && int(p[header-1]) >= minIPMI && len(p) >= header+int(p[header-1])
	}
	if p[rmcpHeader] != authPlus {
		return false
	}
	id, _, kind, flags, body, parsed := protocol.ParseRMCPPlusHeader(p)
	if !parsed || kind != g.awaiting {
		// An answer in RMCP+ framing to the question in 1.5 framing is one too.
		if !parsed || g.awaiting != framing15 || kind != payloadIPMI {
			return false
		}
	}
	if kind == payloadIPMI {
		if g.k1 == nil {
			return id == 0 && flags&flagsSealed == 0 && len(body) >= minIPMI
		}
		return id == g.console && flags&flagsSealed == flagsSealed && g.sealed(p, body)
	}
	return id == 0 && flags&flagsSealed == 0 && g.setup(kind, body)
}

// setup checks an answer of the session's setup and remembers what it says.
func (g *guard) setup(kind uint8, b []byte) bool {
	// Message tag (the library always uses 0), status, console's session id. A
	// refusal may end after the status: ipmi_sim's does.
	if len(b) < minRefusal || b[0] != 0 || len(b) >= minSetup && binary.LittleEndian.Uint32(b[4:]) != g.console {
		return false
	}
	if status := types.RmcpStatusCode(b[1]); status != types.RmcpStatusCodeNoErrors {
		g.status = status
		return true
	}
	if len(b) < minSetup {
		return false
	}
	switch kind {
	case payloadOpenResponse:
		// Another suite than the one that was asked for is a downgrade.
		if len(b) < openedSize || [3]byte{b[openAuth], b[openAuth+8], b[openAuth+16]} != g.algs {
			return false
		}
		g.bmc = binary.LittleEndian.Uint32(b[8:])
	case payloadRAKP2:
		n := crypto.RAKP2AuthCodeLen(types.AuthAlg(g.algs[0]))
		if n == 0 || len(b) < rakp2Fixed+n {
			return false
		}
		g.rand[1] = append([]byte(nil), b[8:24]...)
		g.guid = append([]byte(nil), b[24:40]...)
		code, err := crypto.RAKP2AuthCode(types.AuthAlg(g.algs[0]), g.console, g.bmc, g.rand[0], g.rand[1], g.guid, g.role, g.user,
			crypto.PadPassword20([]byte(g.password)))
		g.badCode = err == nil && !crypto.Equal(code[:min(n, len(code))], b[rakp2Fixed:rakp2Fixed+n])
	case payloadRAKP4:
		return len(b) >= minSetup+crypto.RAKP4ICVLen(types.AuthAlg(g.algs[0]))
	}
	return true
}

// sealed checks authentication code (§13.28.4) and padding (§13.29) of a
// datagram of the session.
func (g *guard) sealed(p, body []byte) bool {
	alg := types.IntegrityAlg(g.algs[1])
	n, ok := crypto.IntegrityAuthCodeLen(alg)
	end := len(p) - n
	if !ok || n == 0 || end < rmcpHeader+rmcpPlus+len(body)+2 {
		return false
	}
	want, err := crypto.SessionIntegrityAuthCode(alg, p[rmcpHeader:end], g.k1, g.password)
	if err != nil || !crypto.Equal(want, p[end:]) || len(body) < 32 || len(body)%16 != 0 {
		return false
	}
	plain, err := crypto.DecryptAESPayload(body, g.k2)
	return err == nil && len(plain) >= minIPMI
}
