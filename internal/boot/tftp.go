package boot

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/pin/tftp/v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// What a TFTP client is told, in an error packet (RFC 1350 §5).
var (
	errNoFile = errors.New("no such file, or its ticket is closed")
	errBusy   = errors.New("too many transfers, ask again")
)

// newTFTP builds the server: read only, one kind of file.
func (s *Services) newTFTP() *tftp.Server {
	t := tftp.NewServer(s.readFile, nil)
	t.SetBlockSize(tftpBlock)
	t.SetTimeout(tftpTimeout)
	t.SetRetries(tftpRetries)
	t.SetBackoff(func(int) time.Duration { return 0 }) // the time-out is pause enough
	if _, ok := s.o.TFTP.(*net.UDPConn); !ok {
		// The library learns the interface's MTU from UDP sockets only, and
		// would fall back to blocks of 512 bytes.
		t.SetBlockSizeNegotiation(false)
	}
	return t
}

// readFile serves one read request. It runs on a goroutine of its own, which
// the library ends after its retries at the latest.
func (s *Services) readFile(name string, to io.ReaderFrom) (err error) {
	out := Served{Protocol: "tftp", What: "boot-loader", Outcome: Aborted}
	defer func() {
		if r := recover(); r != nil {
			err = errNoFile
			s.o.Log.Error("tftp transfer crashed", "cause", fmt.Sprintf("%.200v", r))
		}
		s.o.Count(out)
	}()
	token, ok := tokenOfFile(name)
	e := s.desk.Load().byToken[token]
	if !ok || e == nil || !e.ticket.Open {
		out.Outcome = Refused
		return errNoFile
	}
	select {
	case s.transfers <- struct{}{}:
		defer func() { <-s.transfers }()
	default:
		out.Outcome = Refused
		return errBusy
	}
	script, err := s.scriptOf(e.ticket)
	if err != nil {
		s.o.Log.Error("cannot make a boot script", "ticket", e.ticket.ID, "cause", err)
		out.Outcome = Refused
		return errNoFile
	}
	n, err := to.ReadFrom(strings.NewReader(script))
	out.Bytes = n
	if err != nil {
		return err
	}
	out.Outcome = OK
	s.o.Fetched(e.ticket, rack.FetchedBootLoader)
	return nil
}
