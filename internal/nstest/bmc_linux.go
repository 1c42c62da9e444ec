package nstest

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Password is what its BMCs and the systems behind them are logged in to with: a word that
// stands nowhere else, so that a test may look for it.
const Password = "Basalt-Wiesel19"

// BMC starts a BMC on the host, at an address that it has: a real RMCP+ server that
// lets admin in with the password Password. tells: it says its GUID to whoever asks.
func (h *Host) BMC(address string, guid [16]byte, tells bool) {
	h.t.Helper()
	b := bmc.New(bmc.DeviceInfo{DeviceID: 32, DeviceRevision: 1, FirmwareMajor: 2, IPMIVersion: 0x20, ManufacturerID: 674, ProductID: 256, AdditionalDeviceSupport: 0xbf}, guid, mock.New())
	u, err := b.Users.Add(2, "admin")
	if err != nil {
		h.t.Fatal(err)
	}
	u.SetPassword([]byte(Password))
	u.Enabled = true
	u.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
	r := handlers.NewRegistry()
	r.Use(func(next handlers.Handler) handlers.Handler { // as the standard lets it, and the library does not
		return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
			if h.Session == nil && h.Command.Key() == types.CommandGetSystemGUID.Key() && tells {
				return slices.Clone(h.BMC.GUID[:]), types.CodeOK, nil
			}
			return next.Handle(ctx, h, q)
		})
	})
	handlers.RegisterAllHandlers(r)
	r.RegisterFunc(types.CommandGetSystemGUID, func(_ context.Context, h *handlers.HandlerContext, _ []byte) ([]byte, types.CompletionCode, error) {
		return slices.Clone(h.BMC.GUID[:]), types.CodeOK, nil
	})
	var wire *net.UDPConn
	h.must(func() (err error) {
		wire, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address), Port: 623})
		return err
	})
	s := server.NewServer(b, wire, server.WithHandlerRegistry(r))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		err := s.Close()
		if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
		if err != nil {
			h.t.Error(err)
		}
	})
}
