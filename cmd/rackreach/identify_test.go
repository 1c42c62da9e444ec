package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/handlers"
	ipmiserver "github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/power"
)

// lightHAL has a light, which the handler below stands for, and nothing else.
type lightHAL struct{ hal.HAL }

func (lightHAL) Console() hal.ConsoleHAL { return nil }

// onlyBMC is an environment of one variable.
func onlyBMC(name string) (string, bool) {
	v, ok := map[string]string{"RACK_BMC": "admin:secret"}[name]
	return v, ok
}

// The light of a real RMCP+ server is switched on and off.
func TestIdentify(t *testing.T) {
	wire, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked [][]byte
	registry := handlers.NewRegistry()
	handlers.RegisterAllHandlers(registry)
	registry.RegisterFunc(types.CommandChassisIdentify, func(_ context.Context, _ *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, slices.Clone(q))
		return nil, types.CodeOK, nil
	})
	b := bmc.New(bmc.DeviceInfo{IPMIVersion: 0x02}, [16]byte{1}, lightHAL{})
	u, err := b.Users.Add(2, "admin")
	if err != nil {
		t.Fatal(err)
	}
	u.SetPassword([]byte("secret"))
	u.Enabled = true
	u.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
	s := ipmiserver.NewServer(b, wire, ipmiserver.WithHandlerRegistry(registry))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context()) }()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	text, err := os.ReadFile("../../examples/rack-1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rack.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, off := range []bool{false, true} {
		i := &identify{file: file, device: "server-01", off: off, env: onlyBMC,
			power: power.Options{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, wire.LocalAddr().String())
			}}}
		if err := i.run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
	}
	if want := "server-01: its identify light is on\nserver-01: its identify light is off\n"; out.String() != want {
		t.Errorf("it says %q, want %q", &out, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.EqualFunc(asked, [][]byte{{255, 1}, {0, 0}}, slices.Equal) {
		t.Errorf("the BMC was told % x", asked)
	}
}
