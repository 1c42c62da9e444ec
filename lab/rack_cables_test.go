//go:build lab

package lab

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
)

// clockSlack is how far the recordings' clock may be behind: it begins at a whole second.
const clockSlack = 2 * time.Second

// macs are of whom something is told.
type macs map[string]bool

// portView is a port of a switch, as its recordings are judged.
type portView struct {
	name  string // "mgmt-1:swp1"
	files []string
	// From an outside port the agent is reached, or what others have opened. Frames of all who
	// are there end at the switch, so what counts at it are those who hang on its other ports.
	outside bool
	ends    macs // of an inside port: the machines at both ends of its cable
	behind  macs // of an outside port
	// Of the ports of one group some must show frames that passed the switch once it was
	// configured: else the recordings prove nothing. Empty: it need not.
	group string
}

// judgeCables: through a switch that is not configured yet nothing gets, in no direction. On
// the cable of an inside port of such a switch there are frames of the two machines at its
// ends, and of nobody else; on that of an outside port there are none of who hangs on an
// inside port.
func (r *labRack) judgeCables(events []event) {
	r.t.Helper()
	for _, s := range r.switches() {
		if strings.HasPrefix(s, "inter-rack") {
			continue // judgeBackplane
		}
		views, err := r.views(s)
		if err := errors.Join(err, judgePorts(s, views, when(events, s, "step-started", "push"))); err != nil {
			r.t.Error(err)
		}
	}
}

// views are the ports of a switch.
func (r *labRack) views(s string) (out []portView, err error) {
	node := r.nodes[s]
	behind := macs{}
	joined := slices.ContainsFunc(r.nodes["tor-1"].nics, isTrunk)
	for _, p := range node.nics {
		v := portView{name: s + ":" + p.name, ends: macs{p.mac: true}, group: p.name}
		for _, n := range node.nics { // the switch's own, by any of its names
			v.ends[n.mac] = true
		}
		peers := r.peers(p)
		maps.Copy(v.ends, peers)
		isMgmt := strings.HasPrefix(s, "mgmt")
		v.outside = isMgmt && p.name == "swp48" || !isMgmt && (p.name == "eth0" || p.name == "swp54" || isTrunk(p))
		switch {
		case !v.outside:
			maps.Copy(behind, peers)
		case !isMgmt:
			v.group = "outside" // its management port is no part of its bridge
		}
		if isMgmt && joined && (p.name == "swp43" || p.name == "swp44") {
			v.group = "uplinks" // one of them forwards: docs/platforms.md
		}
		var e error
		v.files, e = node.recordings(p)
		err = errors.Join(err, e)
		out = append(out, v)
	}
	if strings.HasPrefix(s, "mgmt") { // everything
		for _, n := range r.nodes {
			for _, p := range n.nics {
				if n != node {
					behind[p.mac] = true
				}
			}
		}
	}
	for i := range out {
		out[i].behind = behind
	}
	return out, err
}

// peers are who hangs at the other end of a cable: a machine's port, or a BMC.
func (r *labRack) peers(p port) macs {
	out := macs{}
	if mac := r.bmcs[filepath.Base(p.other)]; mac != "" {
		out[mac] = true
	}
	for _, other := range r.nodes {
		for _, n := range other.nics {
			if n.own == p.other {
				out[n.mac] = true
			}
		}
	}
	return out
}

// isTrunk reports whether a port of a ToR switch leads to an inter-rack switch.
func isTrunk(p port) bool { return p.name == "swp49" || p.name == "swp50" }

// judgePorts fails when something passed a switch before it was opened, which is when its
// configuration was begun, or nothing did afterwards.
func judgePorts(s string, views []portView, opened time.Time) (err error) {
	if opened.IsZero() {
		return fmt.Errorf("the journal does not say when %s was configured: nothing can be judged by its recordings", s)
	}
	passed := map[string]bool{}
	for _, v := range views {
		if len(v.files) == 0 {
			err = errors.Join(err, fmt.Errorf("no recording of %s", v.name))
		}
		seen, e := sightings(v.files...)
		err = errors.Join(err, e)
		for _, mac := range slices.Sorted(maps.Keys(seen)) {
			if v.outside && !v.behind[mac] || !v.outside && v.ends[mac] {
				continue
			}
			if at := seen[mac].from; at.Add(clockSlack).Before(opened) {
				err = errors.Join(err, fmt.Errorf("a frame of %s on the cable of %s, %s before that switch was configured", mac, v.name, opened.Sub(at)))
			}
			if seen[mac].to.After(opened) {
				passed[v.group] = true
			}
		}
	}
	for _, v := range views {
		if v.group != "" && !passed[v.group] {
			err = errors.Join(err, fmt.Errorf("the recordings at %s show nothing that passed %s once it was configured", v.name, s))
		}
	}
	return err
}

// sightings are from when to when each sender was seen in recordings.
func sightings(files ...string) (map[string]span, error) {
	out := map[string]span{}
	for _, name := range files {
		if err := sightingsIn(name, out); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return out, nil
}

func sightingsIn(name string, out map[string]span) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := pcapgo.NewReader(f)
	if errors.Is(err, io.EOF) {
		return nil // a machine that was off before anything passed
	}
	if err != nil {
		return err
	}
	for {
		frame, info, err := p.ReadPacketData()
		if err != nil {
			return nil // the end, or a frame that is still written
		}
		if len(frame) < 14 {
			continue
		}
		mac, at := net.HardwareAddr(frame[6:12]).String(), info.Timestamp
		s, has := out[mac]
		if !has || at.Before(s.from) {
			s.from = at
		}
		if at.After(s.to) {
			s.to = at
		}
		out[mac] = s
	}
}
