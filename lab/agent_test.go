//go:build lab

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/ra"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
)

const (
	loaderDir = "/usr/lib/ipxe"           // what UEFI firmware loads: it takes no script
	biosImage = "/usr/lib/ipxe/ipxe.lkrn" // looks like a Linux kernel, and speaks on the console
	uefiImage = "/usr/lib/ipxe/ipxe.efi"
)

// agentConfig tells the agent's process what its one ticket is for.
type agentConfig struct {
	Image  string // a file
	Kernel string // a file, of an installer whose initramfs Image is; empty: Image is all that boots
	Proxy  bool   // another server gives the addresses; the ticket comes when firmware asks for it
}

// agentEnv holds the configuration of the process that is the agent.
const agentEnv = "RACKREACH_LAB_AGENT"

// installerEnv holds the configuration of the agent of the installer's tests.
const installerEnv = "RACKREACH_LAB_INSTALLER"

func TestMain(m *testing.M) {
	var err error
	if text, ok := os.LookupEnv(agentEnv); ok {
		var c agentConfig
		if err = json.Unmarshal([]byte(text), &c); err == nil {
			err = serve(c)
		}
	} else if text, ok := os.LookupEnv(installerEnv); ok {
		var c installing
		if err = json.Unmarshal([]byte(text), &c); err == nil {
			err = serveInstaller(c)
		}
	} else if socket, ok := os.LookupEnv(chassisEnv); ok {
		err = askChassis(socket, os.Args[1:])
	} else {
		code := m.Run()
		if stockDir != "" {
			err = os.RemoveAll(stockDir)
		}
		if err == nil {
			os.Exit(code)
		}
	}
	if err != nil {
		fmt.Println("agent:", err)
		os.Exit(1)
	}
}

// said is what a process said.
type said struct {
	mu  sync.Mutex
	b   bytes.Buffer
	cmd *exec.Cmd // of the agent
}

// kill ends the agent as a power cut would: nothing of it goes on.
func (s *said) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // it says that it was killed
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// agent starts the agent, and returns what it says: a line for each thing that a
// machine does.
func (s *segment) agent(c agentConfig) *said {
	s.t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.process(agentEnv + "=" + string(text))
}

// process starts the agent's process, and returns what it says.
func (s *segment) process(env string) *said {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), env)
	out := &said{cmd: cmd}
	cmd.Stdout, cmd.Stderr = out, out
	s.Start(cmd)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the agent said:\n%s", out)
		}
	})
	out.await(s.t, 20*time.Second, "serving\n")
	return out
}

// serve is the agent: the services of the product with one open ticket.
func serve(c agentConfig) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	image, err := os.ReadFile(c.Image)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(image)
	ticket := boot.Ticket{
		ID: "run/server-01/1", Token: boot.Token([]byte("lab"), "run/server-01/1"), Rack: "lab", Run: "run", Device: "server-01", Role: rack.Server, Platform: "lab", Open: true,
		Image: rack.Image{Name: filepath.Base(c.Image), Digest: "sha256:" + hex.EncodeToString(digest[:]), Size: int64(len(image))},
	}
	images := shelf{ticket.Image.Name: image}
	var native boot.Native
	if c.Kernel != "" {
		kernel, err := os.ReadFile(c.Kernel)
		if err != nil {
			return err
		}
		images[debianKernel], native, ticket.Native = kernel, newDebian(), true
	}
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
	services, err := boot.New(boot.Options{
		HTTP: web, TFTP: files, BaseURL: "http://" + agentIP, Images: images, Native: native,
		Report:  func(context.Context, boot.Report) error { return nil },
		Fetched: func(_ boot.Ticket, e rack.Evidence, _ rack.Source) { fmt.Println("fetched", e) },
		Count:   func(s boot.Served) { fmt.Println("served", s.What, s.Protocol, s.Outcome, s.Bytes) },
		Loaders: loaders,
		Log:     slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		return err
	}
	if err := services.SetTickets([]boot.Ticket{ticket}); err != nil {
		return err
	}
	file, url := services.Loader(ticket, "x86_64-uefi")
	known := &table{script: services.BootFile(ticket), loader: file, loaderURL: url}
	servers, err := dhcp(known, c.Proxy)
	if err != nil {
		return err
	}
	advertiser, err := advertise(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return services.Serve(ctx) })
	for _, d := range servers {
		group.Go(func() error { return d.Serve(ctx) })
	}
	group.Go(func() error { return advertiser.Run(ctx) })
	if c.Kernel != "" {
		group.Go(func() error { return mirror(ctx) })
	}
	fmt.Println("serving")
	return group.Wait()
}

// dhcp is the engine on the agent's cable: one server, or the two of a proxy.
func dhcp(t *table, proxy bool) (servers []*discovery.Server, err error) {
	modes := map[discovery.Mode]uint16{discovery.Addresses: wire.ServerPort}
	if proxy {
		modes = map[discovery.Mode]uint16{discovery.Proxy: wire.ServerPort, discovery.BootServer: wire.ProxyPort}
		t.pending.Store(true)
	}
	own := netip.MustParseAddr(agentIP)
	for mode, port := range modes {
		w, err := wire.Open(nic, wire.Options{Address: own, Port: port})
		if err != nil {
			return nil, err
		}
		s, err := discovery.New(discovery.Options{
			Wire: w, Mode: mode, ServerID: own, Table: func() discovery.Table { return t },
			OnSeen: func(s discovery.Seen) {
				fmt.Printf("seen %s %s by %s: %s\n", s.Message, s.Observation.Stage, s.Binding.How, s.Evidence)
				if s.Address != "" {
					fmt.Printf("gave %s to %s\n", s.Address, s.Observation.Stage)
				}
				if mode == discovery.BootServer && t.pending.Swap(false) {
					fmt.Println("asked on port 4011 before its ticket")
				}
				if s.Observation.Stage == rack.StageHTTPBoot { // knows no port 4011
					t.pending.Store(false)
				}
			},
		})
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// advertise opens the agent's interface for router advertisements, once the kernel
// has found that nobody else has its IPv6 address: that takes a second or two.
func advertise(ctx context.Context) (a *ra.Advertiser, err error) {
	again := time.NewTicker(tick)
	defer again.Stop()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for {
		if a, err = ra.Open(nic); err == nil {
			return a, nil
		}
		select {
		case <-again.C:
		case <-late.C:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// table knows one machine, by its MAC.
type table struct {
	script, loader, loaderURL string // the ticket's, by TFTP and HTTP
	pending                   atomic.Bool
}

// Lookup implements discovery.Table.
func (t *table) Lookup(k rack.Keys) (discovery.Entry, rack.Binding, error) {
	if k.MAC != machineMAC {
		return discovery.Entry{}, rack.Binding{}, fmt.Errorf("%w: %s", rack.ErrUnknown, k.MAC)
	}
	e := discovery.Entry{
		Device: "server-01", End: "data", Hostname: "server-01", Address: netip.MustParseAddr(machineIP), Prefix: netip.MustParsePrefix("10.77.0.0/16"),
		BootFile: t.loader, BootURL: t.loaderURL,
		ScriptURL: "tftp://" + agentIP + "/" + t.script,
	}
	if t.pending.Load() {
		e.BootPending, e.BootFile, e.BootURL, e.ScriptURL = true, "", "", ""
	}
	return e, rack.Binding{Device: "server-01", How: rack.ByMAC}, nil
}

// shelf is a store of images in memory, by their names.
type shelf map[string][]byte

func (s shelf) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	b, ok := s[name]
	if !ok {
		return nil, rack.Image{}, fmt.Errorf("no image %q", name)
	}
	digest := sha256.Sum256(b)
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(b), io.NopCloser(nil)}, rack.Image{Name: name, Digest: "sha256:" + hex.EncodeToString(digest[:]), Size: int64(len(b))}, nil
}
