package power

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/protocol"
)

// inSession applies a change to the sealed replies only.
func inSession(change func([]byte) []byte) func([]byte) []byte {
	return func(p []byte) []byte {
		if id, _, _, _, _, ok := protocol.ParseRMCPPlusHeader(p); ok && p[rmcpHeader] == authPlus && id != 0 {
			return change(p)
		}
		return p
	}
}

// Replies that the library would panic on, on a goroutine of its own, or take
// for true without a right authentication code.
func TestHostileReplies(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	tests := map[string]func([]byte) []byte{
		"flipped bit":   inSession(func(p []byte) []byte { p[20+random.IntN(len(p)-20)] ^= 1; return p }),
		"wrong padding": inSession(func(p []byte) []byte { copy(p[32:48], "0123456789abcdef"); return p }),
		"short payload": inSession(func(p []byte) []byte { binary.LittleEndian.PutUint16(p[14:], 3); return p[:19] }),
		"empty payload": inSession(func(p []byte) []byte { binary.LittleEndian.PutUint16(p[14:], 0); return p[:16] }),
		"not sealed":    inSession(func(p []byte) []byte { p[5] &= 0x3f; return p }),
		"other session": inSession(func(p []byte) []byte { p[6] ^= 0xff; return p }),
		"1.5 in a session": inSession(func([]byte) []byte {
			return []byte{6, 0, 255, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 129, 0, 0, 32, 4, 1, 0, 0}
		}),
		"noise": func([]byte) []byte { b := make([]byte, random.IntN(80)); fill(random, b); return b },
		"half":  func(p []byte) []byte { return p[:len(p)/2] },
		"ASF":   func(p []byte) []byte { p[3] = 6; return p },
		"downgraded suite": func(p []byte) []byte {
			if len(p) > 48 && p[5] == payloadOpenResponse {
				p[16+openAuth], p[16+openAuth+8], p[16+openAuth+16] = 0, 0, 0
			}
			return p
		},
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			f := newBMC(t)
			f.with(func() { f.tamper = tamper })
			c := testClient(t, func(o *Options) { o.Timeout, o.Retries = 20*time.Millisecond, 1 })
			_, err := c.Login(t.Context(), f.target)
			if !errors.Is(err, ErrSilent) && !errors.Is(err, ErrLogin) {
				t.Fatalf("got %v, want ErrSilent or ErrLogin", err)
			}
		})
	}
}

func fill(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
}

// Nothing on the wire may panic the guard or pass it in a session.
func FuzzGuard(f *testing.F) {
	f.Add(uint8(framing15), []byte{6, 0, 255, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 129, 28, 99, 32, 4, 56, 0, 0})
	f.Add(payloadRAKP2, []byte{6, 0, 255, 7, 6, 0x13, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 13, 0, 0, 0xa3, 0xa2, 0xa1, 0xa0})
	f.Add(payloadIPMI, []byte{6, 0, 255, 7, 6, 0xc0, 0xa3, 0xa2, 0xa1, 0xa0, 1, 0, 0, 0, 2, 0, 1, 2})
	f.Fuzz(func(t *testing.T, awaiting uint8, p []byte) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		g := &guard{Conn: near, user: "admin", password: "secret", awaiting: awaiting, console: 0xa0a1a2a3, algs: [3]byte{3, 4, 1},
			rand: [2][]byte{make([]byte, 16), make([]byte, 16)}}
		if g.admit(p) && len(p) < rmcpHeader+minIPMI {
			t.Errorf("let %x through", p)
		}
		if err := g.derive(); err != nil {
			t.Fatal(err)
		}
		g.awaiting = payloadIPMI
		if g.admit(p) {
			t.Errorf("let %x through in a session", p)
		}
	})
}
