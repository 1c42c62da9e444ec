//go:build lab

package lab

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// installing is what the agent of the installer's tests is told.
type installing struct {
	Bundle    string
	Install   job.Install
	Bandwidth int64 // of images, bytes a second; 0: no bound
	Resumed   bool  // an earlier life of the agent has issued the ticket
}

// serveInstaller is the agent: the services of the product with one open ticket for a
// disk image of a real bundle, and the site's server of boot loaders. Once the machine
// has reported, it is told nothing to boot any more.
func serveInstaller(c installing) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	layout, err := bundle.OpenLayout(ctx, c.Bundle)
	if err != nil {
		return err
	}
	b, err := bundle.Find(ctx, layout, release)
	if err != nil {
		return err
	}
	images, err := bundle.NewImages(b, nil)
	if err != nil {
		return err
	}
	image, err := b.Describe(diskImage)
	if err != nil {
		return err
	}
	ticket := boot.Ticket{ID: "lab/server-01/1", Token: boot.Token([]byte("lab"), "lab/server-01/1"), Rack: "lab", Run: "run", Device: "server-01", Role: rack.Server, Platform: "lab",
		Open: true, Image: image, Install: &c.Install, Resumed: c.Resumed}
	fmt.Printf("image of %d bytes\n", image.Size)
	web, err := net.Listen("tcp4", agentIP+":80")
	if err != nil {
		return err
	}
	files, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(agentIP), Port: 69})
	if err != nil {
		return err
	}
	loaders, err := boot.LoadersIn(loaderDir)
	if err != nil {
		return err
	}
	var done atomic.Bool
	services, err := boot.New(boot.Options{
		HTTP: web, TFTP: files, BaseURL: "http://" + agentIP, Images: &told{Images: images},
		Report: func(_ context.Context, r boot.Report) error {
			fmt.Printf("report %s %s %q holds %q\n", r.State, r.Digest, r.Message, r.Holds)
			done.Store(true)
			return nil
		},
		Fetched: func(_ boot.Ticket, e rack.Evidence, _ rack.Source) { fmt.Println("fetched", e) },
		Count:   func(x boot.Served) { fmt.Println("served", x.What, x.Protocol, x.Outcome, x.Bytes) },
		Loaders: loaders, Bandwidth: boot.Bandwidth{Rack: c.Bandwidth},
		Log: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		return err
	}
	if err := services.SetTickets([]boot.Ticket{ticket}); err != nil {
		return err
	}
	loader, _ := services.Loader(ticket, "x86_64-uefi")
	own := netip.MustParseAddr(agentIP)
	w, err := wire.Open(nic, wire.Options{Address: own})
	if err != nil {
		return err
	}
	dhcp, err := discovery.New(discovery.Options{Wire: w, ServerID: own, Table: func() discovery.Table { return &installTable{&done, services.BootFile(ticket), loader} },
		OnSeen: func(s discovery.Seen) { fmt.Printf("seen %s %s\n", s.Message, s.Observation.Stage) }})
	if err != nil {
		return err
	}
	advertiser, err := advertise(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return services.Serve(ctx) })
	group.Go(func() error { return dhcp.Serve(ctx) })
	group.Go(func() error { return advertiser.Run(ctx) })
	group.Go(func() error { return watch(ctx, services) })
	fmt.Println("serving")
	return group.Wait()
}

// watch says what the installer says of its work.
func watch(ctx context.Context, s *boot.Services) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	var last job.Progress
	hardware := false
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		if p := s.InstallerProgress("server-01"); p != nil && *p != last {
			last = *p
			fmt.Printf("progress %s written %d checked %d of %d\n", p.Phase, p.Written, p.Checked, p.Total)
		}
		if h := s.Hardware("server-01"); h != nil && !hardware {
			hardware = true
			fmt.Printf("hardware %s %s, %d disks, first %s %s, %d nics, first %s link %t\n", h.UUID, h.Firmware, len(h.Disks), h.Disks[0].Path, h.Disks[0].Serial, len(h.NICs), h.NICs[0].MAC, h.NICs[0].Link)
		}
	}
}

// told says when the image is asked for first.
type told struct {
	*bundle.Images
	once sync.Once
}

func (x *told) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	if name == diskImage {
		x.once.Do(func() { fmt.Println("image asked for") })
	}
	return x.Images.Open(name)
}

// installTable sends one machine to the installer, until it has reported.
type installTable struct {
	done   *atomic.Bool
	script string // TFTP path of the ticket's script
	loader string // and of what runs it
}

// Lookup implements discovery.Table.
func (t *installTable) Lookup(k rack.Keys) (discovery.Entry, rack.Binding, error) {
	if k.MAC != machineMAC {
		return discovery.Entry{}, rack.Binding{}, fmt.Errorf("%w: %s", rack.ErrUnknown, k.MAC)
	}
	e := discovery.Entry{Device: "server-01", End: "data", Hostname: "server-01", Address: netip.MustParseAddr(machineIP), Prefix: netip.MustParsePrefix("10.77.0.0/16")}
	if !t.done.Load() {
		e.BootFile, e.ScriptURL = t.loader, "tftp://"+agentIP+"/"+t.script
	}
	return e, rack.Binding{Device: "server-01", How: rack.ByMAC}, nil
}
