package boot

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/tftp"
)

// errNoFile is what a TFTP client is told of a name that it has no right to.
var errNoFile = fmt.Errorf("%w, or its ticket is closed", tftp.ErrNotFound)

// newTFTP builds the server: read only, scripts and loaders under their tickets.
func (s *Services) newTFTP() *tftp.Server {
	return tftp.New(tftp.Options{
		Open: s.openFile,
		Refused: func(netip.AddrPort, error) {
			s.o.Count(Served{Protocol: "tftp", What: "boot-loader", Outcome: Refused})
		},
		Log:   s.o.Log,
		Drain: s.o.Drain,
	})
}

// openFile gives what a ticket allows while it is open.
func (s *Services) openFile(name string, client netip.AddrPort) (*tftp.File, error) {
	token, file, ok := tokenOfFile(name)
	e := s.desk.Load().byToken[token]
	if !ok || e == nil || !e.ticket.Open || s.anothers(e, client.Addr()) {
		s.o.Count(Served{Protocol: "tftp", What: "boot-loader", Outcome: Refused})
		return nil, errNoFile
	}
	if file != bootFile {
		return s.loaderByTFTP(file)
	}
	text, err := s.scriptOf(e.ticket)
	if err != nil {
		s.o.Log.Error("cannot make a boot script", "ticket", e.ticket.ID, "cause", err)
		s.o.Count(Served{Protocol: "tftp", What: "boot-loader", Outcome: Refused})
		return nil, errNoFile
	}
	return &tftp.File{ReaderAt: strings.NewReader(text), Size: int64(len(text)), Ended: func(n int64, err error) {
		out := Served{Protocol: "tftp", What: "boot-loader", Outcome: outcome(err), Bytes: n}
		s.o.Count(out)
		if err == nil {
			s.fetched(e.ticket, rack.FetchedBootLoader, rack.FromTFTP)
		}
	}}, nil
}
