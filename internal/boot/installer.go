package boot

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/job"
)

// DiskImages is a store of images some of which are disk images in frames
// (internal/frames): a machine without a system of its own is installed from those.
type DiskImages interface {
	Images
	// Disk gives what a disk image holds, and its index; ok is false for any other
	// image.
	Disk(name string) (raw, index job.Blob, ok bool)
	// OpenFrames opens the index.
	OpenFrames(name string) (io.ReadSeekCloser, error)
	// Installer names the kernel and the initramfs that machines of a platform boot to
	// be installed; ok is false when there is none, or more than one.
	Installer(platform string) (kernel, initramfs string, ok bool)
}

// InstallerProgress is how far the installer of a device says it is, for its last
// ticket; nil: it said nothing.
func (s *Services) InstallerProgress(device string) *job.Progress {
	if e := s.desk.Load().byDevice[device]; e != nil {
		return e.served.told.progress.Load()
	}
	return nil
}

// Hardware is what the installer of a device found in its machine, for its last
// ticket; nil: it said nothing.
func (s *Services) Hardware(device string) *job.Hardware {
	if e := s.desk.Load().byDevice[device]; e != nil {
		return e.served.told.hardware.Load()
	}
	return nil
}

// jobOf is what GET /job/TOKEN answers. Only a disk image has what an installer of
// disks needs to know.
func (s *Services) jobOf(t Ticket) (job.Job, error) {
	j := job.Job{
		Rack: t.Rack, Device: t.Device, Run: t.Run, Ticket: t.ID, Role: string(t.Role), Platform: t.Platform,
		Image:  job.Image{Name: t.Image.Name, URL: s.InstallerURL(t), Digest: t.Image.Digest, Size: t.Image.Size},
		Report: s.baseOf(t) + "/report/" + t.Token, Hardware: s.baseOf(t) + "/hardware/" + t.Token, Overwrites: t.Overwrites,
	}
	store, ok := s.o.Images.(DiskImages)
	if !ok {
		return j, nil
	}
	raw, index, ok := store.Disk(t.Image.Name)
	if !ok {
		return j, nil
	}
	j.Image.Raw, j.Image.Frames = &raw, &job.Source{URL: s.baseOf(t) + "/frames/" + t.Token, Blob: index}
	j.Progress = s.baseOf(t) + "/progress/" + t.Token
	j.Install = &job.Install{}
	if t.Install != nil {
		*j.Install = *t.Install
	}
	if s.o.Seed != nil {
		seed, err := s.o.Seed(t, s.baseOf(t)+"/native/"+t.Token)
		if err != nil {
			return job.Job{}, err
		}
		j.Install.Files = append(slices.Clone(j.Install.Files), seed...)
	}
	return j, nil
}

// rawOf is what the disk image of a ticket holds; ok is false for any other image.
func (s *Services) rawOf(t Ticket) (raw job.Blob, ok bool) {
	store, ok := s.o.Images.(DiskImages)
	if !ok {
		return job.Blob{}, false
	}
	raw, _, ok = store.Disk(t.Image.Name)
	return raw, ok
}

// diskScript is the iPXE script of a ticket for a disk image; ok is false for any other,
// and when the bundle has no installer.
func (s *Services) diskScript(t Ticket) (script string, ok bool) {
	store, ok := s.o.Images.(DiskImages)
	if !ok {
		return "", false
	}
	if _, _, ok = store.Disk(t.Image.Name); !ok {
		return "", false
	}
	if _, _, ok := store.Installer(t.Platform); !ok {
		s.o.Log.Warn("the bundle has no installer for a disk image, only a simulated machine can boot it: rackreach bundle build-installer makes one", "ticket", t.ID, "image", t.Image.Name, "platform", t.Platform)
		return "", false
	}
	head := fmt.Sprintf("#!ipxe\n# rackreach: rack %s, device %s (%s), ticket %s\n# image %s %s\n", word(t.Rack), word(t.Device), word(string(t.Role)), word(t.ID), word(t.Image.Name), word(t.Image.Digest))
	base := s.baseOf(t) + "/installer/" + t.Token
	return head + fmt.Sprintf("kernel %[1]s/kernel initrd=initramfs console=tty0 console=ttyS0,115200n8 panic=30 rackreach.job=%[2]s rackreach.mac=${netX/mac}\ninitrd --name initramfs %[1]s/initramfs\nboot\n",
		base, s.JobURL(t)), true
}

// serveInstaller serves the kernel or the initramfs that a ticket's machine boots.
func (s *Services) serveInstaller(w http.ResponseWriter, r *http.Request) {
	e := s.find(w, r, "installer", http.StatusGone)
	if e == nil {
		return
	}
	store, ok := s.o.Images.(DiskImages)
	var name string
	if ok {
		var kernel, initramfs string
		kernel, initramfs, ok = store.Installer(e.ticket.Platform)
		name = map[string]string{"kernel": kernel, "initramfs": initramfs}[r.PathValue("file")]
	}
	if !ok || name == "" {
		s.refuse(w, "installer", "there is no such part of an installer", http.StatusNotFound)
		return
	}
	f, _, err := store.Open(name)
	if err != nil {
		s.o.Log.Error("cannot open the installer", "ticket", e.ticket.ID, "file", name, "cause", err)
		s.refuse(w, "installer", "the installer cannot be opened", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	_, sent, err := s.send(w, r, e.ticket.Device, f)
	s.o.Count(Served{Protocol: "http", What: "installer", Outcome: outcome(err), Bytes: sent})
}

// handleInstaller routes what only an installer of disks asks for.
func (s *Services) handleInstaller(mux *http.ServeMux) {
	mux.HandleFunc("GET /frames/{token}", s.serveFrames)
	mux.HandleFunc("GET /installer/{token}/{file}", s.serveInstaller)
	mux.HandleFunc("POST /progress/{token}", func(w http.ResponseWriter, r *http.Request) {
		s.hear(w, r, "progress", job.MaxProgress, func(e *entry, b []byte) error {
			p, err := job.ParseProgress(b)
			if err != nil {
				return err
			}
			if raw, ok := s.rawOf(e.ticket); !ok || p.Total != raw.Size {
				return fmt.Errorf("%w: its total is not the %d bytes of its image", job.ErrSaid, raw.Size)
			}
			if line := e.served.told.goesOn(&p); line != "" {
				s.o.Said(e.ticket, r.RemoteAddr, line)
			}
			// It has all of the image, also what an earlier life of the agent served.
			if p.Phase == job.Finishing && p.Checked == p.Total {
				e.served.add(span{0, e.ticket.Image.Size})
			}
			return nil
		})
	})
	mux.HandleFunc("POST /hardware/{token}", func(w http.ResponseWriter, r *http.Request) {
		s.hear(w, r, "hardware", job.MaxHardware, func(e *entry, b []byte) error {
			h, err := job.ParseHardware(b)
			if err != nil {
				return err
			}
			for _, line := range e.served.told.has(&h) {
				s.o.Said(e.ticket, r.RemoteAddr, line)
			}
			if e.served.told.finds() {
				s.o.Found(e.ticket, &h)
			}
			return nil
		})
	})
}

// serveFrames serves the index of a ticket's image.
func (s *Services) serveFrames(w http.ResponseWriter, r *http.Request) {
	e := s.find(w, r, "frames", http.StatusGone)
	if e == nil {
		return
	}
	// One ticket, one attempt (see serveImage): each begins with the index.
	if e.served.delivered() {
		s.refuse(w, "frames", "the image was delivered under this ticket: a new attempt needs a new one", http.StatusGone)
		return
	}
	store, ok := s.o.Images.(DiskImages)
	if !ok {
		s.refuse(w, "frames", "the image has no frames", http.StatusNotFound)
		return
	}
	f, err := store.OpenFrames(e.ticket.Image.Name)
	if err != nil {
		s.o.Log.Error("cannot open the frames of an image", "ticket", e.ticket.ID, "image", e.ticket.Image.Name, "cause", err)
		s.refuse(w, "frames", "the frames of the image cannot be opened", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, f)
	s.o.Count(Served{Protocol: "http", What: "frames", Outcome: outcome(r.Context().Err())})
}

// inParts reports whether a request asks for a part of a disk image, which installers
// take in any order, and once more when one came damaged.
func (s *Services) inParts(t Ticket, rangeHeader string) bool {
	store, ok := s.o.Images.(DiskImages)
	if !ok {
		return false
	}
	_, end, _ := strings.Cut(rangeHeader, "-")
	_, _, ok = store.Disk(t.Image.Name)
	return ok && end != "" && !strings.Contains(end, ",")
}

// hear takes a small message of an installer.
func (s *Services) hear(w http.ResponseWriter, r *http.Request, what string, most int64, take func(*entry, []byte) error) {
	e := s.find(w, r, what, http.StatusConflict)
	if e == nil {
		return
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		s.refuse(w, what, "the message did not arrive whole", http.StatusBadRequest)
		return
	}
	if err := take(e, b); err != nil {
		s.refuse(w, what, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	s.o.Count(Served{Protocol: "http", What: what, Outcome: OK})
}
