//go:build netns

package wire_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/rackreach/rackreach/discovery/wire"
)

// Who has an address on the segment is told, by the kernel of another host; who is not
// there is not, and frames that are no ARP do not end the question.
func TestResolve(t *testing.T) {
	server, client, _ := pair(t)
	client.Address("rr0", "10.0.0.2/24")
	resolve := func(address string, patience time.Duration) (mac net.HardwareAddr, err error) {
		server.Do(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			mac, err = wire.Resolve(ctx, "rr0", netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr(address))
		})
		return mac, err
	}
	if mac, err := resolve("10.0.0.2", patience); err != nil || mac.String() != client.MAC("rr0").String() {
		t.Errorf("%s, %v", mac, err)
	}
	var s *wire.Sender
	var err error
	client.Do(func() { s, err = wire.OpenSender("rr0") })
	if err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // a stranger that sends what is no ARP
		defer close(ended)
		for frame := append(append(append([]byte(nil), server.MAC("rr0")...), client.MAC("rr0")...), 0x08, 0x06, 0xff); ; {
			select {
			case <-stop:
				return
			default:
				_ = s.Send(append(frame, make([]byte, 40)...))
			}
		}
	}()
	if mac, err := resolve("10.0.0.2", patience); err != nil || mac == nil {
		t.Errorf("among strange frames: %s, %v", mac, err)
	}
	if mac, err := resolve("10.0.0.3", time.Second); err == nil {
		t.Errorf("nobody has it, and %s answered", mac)
	}
	close(stop)
	<-ended
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
