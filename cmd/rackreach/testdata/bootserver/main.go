// Command bootserver is the boot services of the product with as many open tickets for one
// image as a bench wants, and one boot loader.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
)

// oneFile is a store of one image, a file.
type oneFile struct {
	path  string
	image rack.Image
}

func (o oneFile) Open(string) (io.ReadSeekCloser, rack.Image, error) {
	f, err := os.Open(o.path)
	return f, o.image, err
}

// serve serves FILE and the loaders in FOLDER at ADDRESS under TICKETS tickets.
func serve(address, file, folder, tickets string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := strconv.Atoi(tickets)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	image := rack.Image{Name: "image", Digest: "sha256:none", Size: info.Size()}
	web, err := net.Listen("tcp4", address+":80")
	if err != nil {
		return err
	}
	files, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address), Port: 69})
	if err != nil {
		return err
	}
	loaders, err := boot.LoadersIn(folder)
	if err != nil {
		return err
	}
	s, err := boot.New(boot.Options{
		HTTP: web, TFTP: files, BaseURL: "http://" + address, Images: oneFile{file, image}, Loaders: loaders,
		Report: func(context.Context, boot.Report) error { return nil }, Fetched: func(boot.Ticket, rack.Evidence, rack.Source) {},
	})
	if err != nil {
		return err
	}
	var all []boot.Ticket
	for i := range n {
		id := strconv.Itoa(i)
		all = append(all, boot.Ticket{ID: id, Token: boot.Token([]byte("bench"), id), Device: "server-" + id, Role: rack.Server, Image: image, Open: true})
	}
	if err := s.SetTickets(all); err != nil {
		return err
	}
	fmt.Println("serving")
	return s.Serve(ctx)
}

func main() {
	if err := serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
