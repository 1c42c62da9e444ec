package boot

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rackreach/rackreach/internal/tftp"
)

// Loaders are the programs that run boot scripts, for firmware that runs none by
// itself. Open is called from many goroutines; what it returns is used by one.
type Loaders interface {
	Open(file string) (io.ReadSeekCloser, error)
}

// loaderFiles are the loaders by the architecture of the firmware, as classification
// names it: Debian's package ipxe calls them so.
var loaderFiles = map[string]string{
	"x86-bios":    "undionly.kpxe",
	"x86_64-uefi": "ipxe.efi",
	"arm64-uefi":  "ipxe-arm64.efi",
}

// LoadersIn are the loaders in a folder, such as /usr/lib/ipxe. Its error says that
// there is none in it.
func LoadersIn(dir string) (Loaders, error) {
	for _, file := range loaderFiles {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return loaderDir(dir), nil
		}
	}
	return nil, fmt.Errorf("%s has no boot loader, such as ipxe.efi or undionly.kpxe: name the folder that has them (Debian: apt-get install ipxe, /usr/lib/ipxe)", dir)
}

type loaderDir string

func (d loaderDir) Open(file string) (io.ReadSeekCloser, error) {
	return os.Open(filepath.Join(string(d), file))
}

// LoadersOf are the loaders of a bundle: artifacts of that name in the folder ipxe, as
// "rackreach bundle add --kind boot-file --name ipxe FOLDER" names them.
func LoadersOf(images Images) Loaders { return loaderImages{images} }

type loaderImages struct{ images Images }

func (l loaderImages) Open(file string) (io.ReadSeekCloser, error) {
	f, _, err := l.images.Open("ipxe/" + file)
	return f, err
}

// present are the loaders that are there, by architecture.
func present(l Loaders) map[string]string {
	out := map[string]string{}
	if l == nil {
		return out
	}
	for arch, file := range loaderFiles {
		if f, err := l.Open(file); err == nil {
			_ = f.Close() // it was only looked for
			out[arch] = file
		}
	}
	return out
}

// Loader is the TFTP name and the URL of the loader for firmware of an architecture,
// under a ticket; both are empty when there is none.
func (s *Services) Loader(t Ticket, arch string) (file, url string) {
	name := s.loaders[arch]
	if name == "" {
		return "", ""
	}
	return t.Token + "/" + name, s.baseOf(t) + "/loader/" + t.Token + "/" + name
}

// isLoader reports whether a file is one of the loaders: nothing else is opened.
func isLoader(file string) bool {
	for _, name := range loaderFiles {
		if name == file {
			return true
		}
	}
	return false
}

// errNoLoader is what is told of a loader that is not there.
var errNoLoader = errors.New("no such boot loader")

// openLoader opens a loader, and says its size.
func (s *Services) openLoader(file string) (io.ReadSeekCloser, int64, error) {
	if s.o.Loaders == nil || !isLoader(file) {
		return nil, 0, errNoLoader
	}
	f, err := s.o.Loaders.Open(file)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNoLoader, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// loaderByTFTP is the file that a TFTP client is sent. The script that it asks for next
// is the evidence, not this: firmware fetches more than once.
func (s *Services) loaderByTFTP(file string) (*tftp.File, error) {
	f, size, err := s.openLoader(file)
	if err != nil {
		s.o.Log.Warn("tftp: a boot loader cannot be opened", "file", file, "cause", err)
		return nil, errNoFile
	}
	return &tftp.File{ReaderAt: seeking{f}, Size: size, Ended: func(n int64, err error) {
		s.o.Count(Served{Protocol: "tftp", What: "boot-loader", Outcome: outcome(err), Bytes: n})
		if err := f.Close(); err != nil {
			s.o.Log.Warn("close a boot loader", "file", file, "cause", err)
		}
	}}, nil
}

// seeking reads at offsets, for one goroutine.
type seeking struct{ f io.ReadSeeker }

func (s seeking) ReadAt(p []byte, at int64) (int, error) {
	if _, err := s.f.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	return io.ReadFull(s.f, p)
}

// serveLoader serves a loader to UEFI HTTP boot.
func (s *Services) serveLoader(w http.ResponseWriter, r *http.Request) {
	if s.find(w, r, "boot-loader", http.StatusGone) == nil {
		return
	}
	f, _, err := s.openLoader(r.PathValue("file"))
	if err != nil {
		s.refuse(w, "boot-loader", errNoLoader.Error(), http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	if strings.HasSuffix(r.PathValue("file"), ".efi") {
		w.Header().Set("Content-Type", "application/efi") // UEFI 2.10 §24.7.3.2.1
	}
	_, sent, err := sendSmall(w, r, f)
	s.o.Count(Served{Protocol: "http", What: "boot-loader", Outcome: outcome(err), Bytes: sent})
}
