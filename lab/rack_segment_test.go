//go:build lab

package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// QEMU records each port of a machine, each start of it in a file of its own. A segment is a
// cable: as long as a switch does not forward, nothing else is one. Its recording is made of
// those of both its ends.

// snapLength is how much of a frame is recorded, in bytes.
const snapLength = 256

// cableRecord is what was recorded of a cable, at its ends.
type cableRecord struct {
	name string     // "mgmt-1_swp45--tor-1_eth0"
	ends []endFiles // one or two: a host that is a network namespace records nothing
}

type endFiles struct {
	port  string // "mgmt-1:swp45"
	files []string
}

// cableRecords are all cables of the rack with a machine at an end.
func (r *labRack) cableRecords() ([]cableRecord, error) {
	byName := map[string]*cableRecord{}
	for _, device := range r.devices() {
		n := r.nodes[device]
		for _, p := range n.nics {
			ends := []string{filepath.Base(p.own), filepath.Base(p.other)}
			slices.Sort(ends)
			name := strings.ReplaceAll(strings.Join(ends, "--"), ".", "_")
			files, err := n.recordings(p)
			if err != nil {
				return nil, err
			}
			if byName[name] == nil {
				byName[name] = &cableRecord{name: name}
			}
			byName[name].ends = append(byName[name].ends, endFiles{device + ":" + p.name, files})
		}
	}
	var out []cableRecord
	for _, c := range byName {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b cableRecord) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// recordings are those of a port, one of each start.
func (n *node) recordings(p port) ([]string, error) {
	return filepath.Glob(filepath.Join(n.pcap, fmt.Sprintf("%s-%s-*.pcap", n.name, p.name)))
}

// recording is the file of a port and a start.
func (n *node) recording(p port, start int) string {
	return filepath.Join(n.pcap, fmt.Sprintf("%s-%s-%d.pcap", n.name, p.name, start))
}

// reading is a recording that is read frame by frame. Its file may still be written.
type reading struct {
	file  *os.File
	r     *pcapgo.Reader
	end   int // the number of its interface
	frame []byte
	info  gopacket.CaptureInfo
}

// next reads a frame; at the end there is none.
func (c *reading) next() bool {
	var err error
	c.frame, c.info, err = c.r.ReadPacketData()
	return err == nil
}

// merge writes the recordings of a cable into one, in the order of time. Each end is an
// interface of the pcapng: a frame that arrived is there twice, one that was lost once.
func (c *cableRecord) merge(to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	face := func(e endFiles) pcapgo.NgInterface {
		return pcapgo.NgInterface{Name: e.port, LinkType: layers.LinkTypeEthernet, SnapLength: snapLength}
	}
	w, err := pcapgo.NewNgWriterInterface(f, face(c.ends[0]), pcapgo.DefaultNgWriterOptions)
	if err != nil {
		return err
	}
	for _, e := range c.ends[1:] {
		if _, err := w.AddInterface(face(e)); err != nil {
			return err
		}
	}
	var open []*reading
	defer func() {
		for _, o := range open {
			err = errors.Join(err, o.file.Close())
		}
	}()
	var live []*reading
	for i, e := range c.ends {
		for _, name := range e.files {
			in, err := os.Open(name)
			if err != nil {
				return err
			}
			o := &reading{file: in, end: i}
			open = append(open, o)
			if o.r, err = pcapgo.NewReader(in); errors.Is(err, io.EOF) {
				continue // QEMU has begun the file, and no more
			} else if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if o.next() {
				live = append(live, o)
			}
		}
	}
	for len(live) > 0 {
		first := 0
		for i, o := range live {
			if o.info.Timestamp.Before(live[first].info.Timestamp) {
				first = i
			}
		}
		o := live[first]
		o.info.InterfaceIndex = o.end
		if err := w.WritePacket(o.info, o.frame); err != nil {
			return err
		}
		if !o.next() {
			live = slices.Delete(live, first, first+1)
		}
	}
	return w.Flush()
}

// readSegment counts the frames of a recording of a cable at each of its ends.
func readSegment(file string) (frames map[string]int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	frames = map[string]int{}
	for {
		_, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		face, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			return nil, err
		}
		frames[face.Name]++
	}
}
