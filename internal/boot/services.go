package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// Images is the store that images come from. Open is called from many
// goroutines; what it returns is read, seeked and closed by one. A store that
// returns *os.File gets sendfile.
type Images interface {
	Open(name string) (io.ReadSeekCloser, rack.Image, error)
}

// Outcomes of Served.
const (
	OK      = "ok"
	Refused = "refused" // by us: unknown, closed, bad input, too many
	Aborted = "aborted" // by the peer or the network
)

// Served is one request that ended, for metrics.
type Served struct {
	Protocol string // tftp, http
	What     string // boot-loader, installer, job, frames, image, hardware, progress, report, answer, boot-file
	Outcome  string // OK, Refused, Aborted
	Bytes    int64  // bytes served that were not served before
}

// Options are what the services need. All are required but the last eight.
type Options struct {
	HTTP    net.Listener   // owned by Serve, which closes it
	TFTP    net.PacketConn // likewise; nobody else may close it. A *net.UDPConn answers from the address that was asked
	BaseURL string         // "http://HOST:PORT" of HTTP, as devices reach it
	Images  Images
	// Report makes a report durable, closes its ticket and returns then;
	// ErrClosed when the ticket is closed already. It is called from many
	// goroutines, also twice for one ticket.
	Report func(context.Context, Report) error
	// Fetched says that a device has a whole boot loader or image, and by which protocol.
	// It must not block.
	Fetched func(Ticket, rack.Evidence, rack.Source)

	// Seed makes the files that a disk image is told who it is by, for each job anew:
	// there may be secrets in them. base is the URL of what the device may fetch. nil, or
	// none: it is not told.
	Seed func(t Ticket, base string) ([]job.File, error)
	// Said takes a line for people of what an installer of disk images says: what it found,
	// its problems, each quarter of the image. It is printable and at most MaxSaid bytes
	// long, and there are few of one ticket. remote is where it came from. nil: nobody listens.
	Said func(t Ticket, remote, line string)
	// Found takes what an installer found in its machine, when it says so, and not often
	// for one ticket; its text is printable. It must not block. nil: nobody listens.
	Found func(t Ticket, h *job.Hardware)
	// DeviceAt is the device that has an address, as far as that is known: what a ticket
	// gives is not for another one, who may have heard its token in a DHCP reply that was
	// broadcast. It must not block. nil: none is known.
	DeviceAt  func(netip.Addr) (device string, ok bool)
	Native    Native        // for tickets that say so; nil: there are none
	Bandwidth Bandwidth     // of images
	Loaders   Loaders       // nil: firmware has to run scripts by itself
	Count     func(Served)  // nil: nobody counts
	Log       *slog.Logger  // nil: nothing is logged
	Drain     time.Duration // for transfers in flight at the end; 0: DefaultDrain
}

// Services are the boot services of one agent. See the package comment.
type Services struct {
	o    Options
	base string // BaseURL without a slash at its end
	desk atomic.Pointer[desk]
	pace *pace

	loaders map[string]string // by architecture: those that are there

	mu       sync.Mutex     // held to change desk, ending, and to count up handling
	ending   bool           // no request is begun any more
	handling sync.WaitGroup // requests that were begun
}

// New makes the services; nothing is served before Serve. It fails when an
// option is missing or wrong.
func New(o Options) (*Services, error) {
	if o.HTTP == nil || o.TFTP == nil || o.Images == nil || o.Report == nil || o.Fetched == nil {
		return nil, errors.New("boot services: HTTP, TFTP, Images, Report and Fetched must be given")
	}
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("boot services: base URL %q must be http://HOST:PORT", o.BaseURL)
	}
	if o.Said == nil {
		o.Said = func(Ticket, string, string) {}
	}
	if o.Found == nil {
		o.Found = func(Ticket, *job.Hardware) {}
	}
	if o.DeviceAt == nil {
		o.DeviceAt = func(netip.Addr) (string, bool) { return "", false }
	}
	if o.Count == nil {
		o.Count = func(Served) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	s := &Services{o: o, base: "http://" + u.Host, pace: newPace(o.Bandwidth), loaders: present(o.Loaders)}
	s.desk.Store(&desk{})
	return s, nil
}

// SetTickets replaces all tickets at once. It fails, and changes nothing, when
// a token is malformed or given twice.
func (s *Services) SetTickets(tickets []Ticket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.desk.Load().next(tickets, func(t Ticket) { s.fetched(t, rack.FetchedImage, rack.FromHTTP) })
	if err != nil {
		return fmt.Errorf("set tickets: %w", err)
	}
	s.desk.Store(next)
	return nil
}

// fetched tells what the device of a ticket has, unless it has a newer ticket by now: what
// was on its way for longer than its attempt is no evidence for the next one.
func (s *Services) fetched(t Ticket, what rack.Evidence, by rack.Source) {
	if e := s.desk.Load().byDevice[t.Device]; e != nil && e.ticket.ID == t.ID {
		s.o.Fetched(t, what, by)
	}
}

// BootFile is the TFTP name of a ticket's iPXE script.
func (s *Services) BootFile(t Ticket) string { return t.Token + "/" + bootFile }

// InstallerURL is the URL of a ticket's image.
func (s *Services) InstallerURL(t Ticket) string { return s.baseOf(t) + "/image/" + t.Token }

// JobURL is the URL of a ticket's job.
func (s *Services) JobURL(t Ticket) string { return s.baseOf(t) + "/job/" + t.Token }

// Progress is how many different bytes of its image were served to a device,
// for its last ticket, and the image's size; zeros when it has none.
func (s *Services) Progress(device string) (served, size int64) {
	if e := s.desk.Load().byDevice[device]; e != nil {
		return e.served.progress()
	}
	return 0, 0
}

// Serve runs both servers until ctx ends or one of them fails, and returns when
// both have ended: transfers in flight get Options.Drain. The error is nil when
// ctx ended it. Call it once.
func (s *Services) Serve(ctx context.Context) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	web := s.newHTTP(base)
	files, stopFiles := context.WithCancel(base)
	defer stopFiles()
	ended := make(chan error, 2)
	go func() { ended <- name("http", web.Serve(newListener(s.o.HTTP, maxConns))) }()
	go func() { ended <- name("tftp", s.newTFTP().Serve(files, s.o.TFTP)) }()
	var first error
	left := 2
	select {
	case <-ctx.Done():
	case first = <-ended:
		left--
		if first == nil {
			first = errors.New("boot services: a server ended by itself")
		}
	}
	stopFiles()
	downErr := s.shutdown(web, cancel)
	for range left {
		if err := <-ended; first == nil {
			first = err
		}
	}
	return errors.Join(first, downErr)
}

// newHTTP builds the HTTP server.
func (s *Services) newHTTP(base context.Context) *http.Server {
	return &http.Server{
		Handler:           s.handler(base),
		ReadHeaderTimeout: headerLimit,
		IdleTimeout:       idleLimit,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn),
	}
}

// shutdown ends HTTP and waits for what it started.
func (s *Services) shutdown(web *http.Server, cancel func()) error {
	ctx, stop := context.WithTimeout(context.Background(), s.o.Drain)
	defer stop()
	var err error
	if web.Shutdown(ctx) != nil {
		s.o.Log.Warn("transfers were cut off", "after", s.o.Drain)
		if err = web.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	cancel()
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.handling.Wait()
	if err != nil {
		return fmt.Errorf("close http: %w", err)
	}
	return nil
}

func name(server string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("boot services: %s: %w", server, err)
}
