//go:build netns

package wire_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

// BenchmarkInterface is one message in and one out, over a veth pair, with what the
// client's side of it costs.
func BenchmarkInterface(b *testing.B) {
	server, client := nstest.New(b), nstest.New(b)
	server.Cable("rr0", client, "rr0")
	server.Address("rr0", "10.0.0.1/24")
	client.Address("rr0", "10.0.0.7/24")
	var i *wire.Interface
	var c *net.UDPConn
	var err error
	server.Do(func() { i, err = wire.Open("rr0", wire.Options{}) })
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	client.Do(func() {
		c, err = net.DialUDP("udp4", &net.UDPAddr{Port: 67}, &net.UDPAddr{IP: net.IP{10, 0, 0, 1}, Port: 67})
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	hw := client.MAC("rr0")
	payload := make([]byte, 300)
	for _, frames := range []bool{false, true} {
		b.Run(fmt.Sprintf("frames=%v", frames), func(b *testing.B) {
			ds := make([]wire.Datagram, 32)
			room := make([]byte, 32*1500)
			b.ReportAllocs()
			for done := 0; done < b.N; {
				for range len(ds) {
					if _, err := c.Write(payload); err != nil {
						b.Fatal(err)
					}
				}
				for left := len(ds); left > 0; {
					for k := range ds {
						ds[k].Payload = room[k*1500 : (k+1)*1500]
					}
					n, err := i.Read(ds)
					if err != nil {
						b.Fatal(err)
					}
					if frames {
						for k := range n {
							ds[k].Hardware = hw
						}
					}
					i.Write(ds[:n], func(_ int, err error) { b.Error(err) })
					left -= n
					done += n
				}
			}
		})
	}
}
