// Command nullresponder answers perfdhcp as cheaply as can be: it turns each packet
// round, with an address made of the last bytes of the client's MAC, and keeps
// nothing. Its rate is perfdhcp's ceiling on a machine, and no server's.
package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/net/ipv4"
)

const (
	atOnce = 64
	room   = 1500
	buffer = 8 << 20 // of the socket, in bytes
	header = 240     // with the magic cookie (RFC 2131 section 2)
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(own string) error {
	self := net.ParseIP(own).To4()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: self, Port: 67})
	if err != nil {
		return err
	}
	if err := c.SetReadBuffer(buffer); err != nil {
		return err
	}
	fmt.Println("answering")
	p := ipv4.NewPacketConn(c)
	in := make([]ipv4.Message, atOnce)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, room)}
	}
	out := make([]ipv4.Message, 0, atOnce)
	for {
		n, err := p.ReadBatch(in, 0)
		if err != nil {
			return err
		}
		out = out[:0]
		for i := range in[:n] {
			if b := turned(in[i].Buffers[0], in[i].N, self); b != nil {
				out = append(out, ipv4.Message{Buffers: [][]byte{b}, Addr: in[i].Addr})
			}
		}
		for sent := 0; sent < len(out); {
			k, err := p.WriteBatch(out[sent:], 0)
			if err != nil {
				return err
			}
			sent += k
		}
	}
}

// turned makes the answer in the place of the question; nil for what is none.
func turned(b []byte, n int, self net.IP) []byte {
	if n < header+3 || b[0] != 1 || b[header] != 53 {
		return nil
	}
	kind := byte(2) // OFFER
	if b[header+2] == 3 {
		kind = 5 // ACK
	}
	b[0] = 2
	b[16], b[17], b[18], b[19] = self[0], self[1], 10+b[32]%190, b[33]
	o := append(b[:header], 53, 1, kind, 54, 4)
	o = append(o, self...)
	o = append(o, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 0, 0, 255)
	return o
}
