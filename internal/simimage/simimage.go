// Package simimage makes the images of the simulated rack: bytes that install
// on nothing, deterministic by name, so that agent, plan and device agree on a
// digest without a file being shipped.
//
// An image is generated when it is first asked for and stays in memory. The
// images of ONIE platforms begin like real installers, with a shell header that
// holds the digest of the payload behind it; what the simulated device runs is
// the check that such a header does.
package simimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/rackreach/rackreach/internal/rack"
)

// Sizes of the simulated images, in bytes: small enough for a laptop, large
// enough for a transfer to take a moment. The small ones are for tests that image
// racks again and again; a whole one may fit the buffers of a connection.
const (
	SwitchSize      = 8 << 20
	ServerSize      = 32 << 20
	SmallSwitchSize = 256 << 10
	SmallServerSize = 1 << 20
)

// maxSize bounds an image, in bytes, since it is held in memory.
const maxSize = 1 << 30

// The lines of an ONIE installer's header that a device looks for.
const (
	Shebang       = "#!/bin/sh\n"
	PayloadDigest = "# payload-sha256: " // followed by 64 hex digits and a line feed
	Version       = "# version: "        // followed by what is installed, and a line feed
	Archive       = "__ARCHIVE__\n"      // the payload begins after it

	swiVersion = "SWI_VERSION=" // as an image of EOS says it in its file version
)

// ErrUnknown: no image of that name. It is wrapped with the names there are.
var ErrUnknown = errors.New("no such image")

// Spec is one image: its name, its size in bytes, all told, and whether it is
// an ONIE installer; or its text.
type Spec struct {
	Name string
	Size int
	ONIE bool
	// Version is what the image says that it installs; empty: nothing. An image that
	// is no installer of ONIE says it like one of Arista's EOS.
	Version string
	Text    string
}

// ESXiFolder is where the boot files stand that look like those of ESXi.
const ESXiFolder = "sim-esxi/"

// bootCfg is a boot.cfg as an ISO of ESXi has it, of fewer modules.
const bootCfg = `bootstate=0
title=Loading a simulated ESXi installer
timeout=5
prefix=
kernel=/b.b00
kernelopt=runweasel cdromBoot
modules=/k.b00 --- /s.v00
build=8.0.3-0.0.simulated
updated=0
`

// Specs are the images of the simulated platforms, and small ones that a rack
// file may name instead (image:).
func Specs() []Spec {
	return []Spec{
		{Name: "sim-nos-mgmt", Size: SwitchSize},
		{Name: "sim-nos-onie", Size: SwitchSize, ONIE: true},
		{Name: "sim-hypervisor", Size: ServerSize},
		{Name: "sim-nos-mgmt-small", Size: SmallSwitchSize},
		{Name: "sim-nos-onie-small", Size: SmallSwitchSize, ONIE: true},
		{Name: "sim-hypervisor-small", Size: SmallServerSize},
		{Name: "sim-linux/linux", Size: SmallSwitchSize},
		{Name: "sim-linux/initrd.gz", Size: SmallServerSize},
		{Name: "sim-linux/initrd-large.gz", Size: SwitchSize},
		{Name: ESXiFolder + "boot.cfg", Size: len(bootCfg), Text: bootCfg},
		{Name: ESXiFolder + "efi/boot/bootx64.efi", Size: SmallSwitchSize},
		{Name: ESXiFolder + "efi/boot/crypto64.efi", Size: SmallSwitchSize},
		{Name: ESXiFolder + "b.b00", Size: SmallSwitchSize},
		{Name: ESXiFolder + "k.b00", Size: SmallServerSize},
		{Name: ESXiFolder + "s.v00", Size: SmallServerSize},
	}
}

// Store holds images. It is safe for concurrent use.
type Store struct {
	names  []string
	images map[string]func() made // generates once
}

// made is a generated image; data is never written to again.
type made struct {
	data  []byte
	image rack.Image
}

// New makes a store of the given images. It fails on a name that is empty or
// given twice, and on a size that is out of bounds.
func New(specs []Spec) (*Store, error) {
	s := &Store{images: make(map[string]func() made, len(specs))}
	for _, x := range specs {
		if _, twice := s.images[x.Name]; x.Name == "" || twice {
			return nil, fmt.Errorf("simulated image %q: its name is empty or given twice", x.Name)
		}
		if least := len(header(x.Version, nil)); x.Text == "" && x.Size < least || x.Size > maxSize {
			return nil, fmt.Errorf("simulated image %s: %d bytes, must be %d to %d", x.Name, x.Size, least, maxSize)
		}
		s.names = append(s.names, x.Name)
		s.images[x.Name] = sync.OnceValue(func() made { return generate(x) })
	}
	slices.Sort(s.names)
	return s, nil
}

// Names lists the images, sorted.
func (s *Store) Names() []string { return slices.Clone(s.names) }

// Below lists the images in a folder, by the rest of their names.
func (s *Store) Below(folder string) (out []string) {
	for _, n := range s.names {
		if rest, ok := strings.CutPrefix(n, folder+"/"); ok {
			out = append(out, rest)
		}
	}
	return out
}

// Describe gives digest and size of an image. Error: ErrUnknown.
func (s *Store) Describe(name string) (rack.Image, error) {
	m, ok := s.images[name]
	if !ok {
		return rack.Image{}, fmt.Errorf("%w: %q; there are %q", ErrUnknown, name, s.names)
	}
	return m().image, nil
}

// Open gives an image's bytes; the caller closes them. Error: ErrUnknown.
func (s *Store) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	m, ok := s.images[name]
	if !ok {
		return nil, rack.Image{}, fmt.Errorf("%w: %q; there are %q", ErrUnknown, name, s.names)
	}
	g := m()
	return reader{bytes.NewReader(g.data)}, g.image, nil
}

// reader is an image that was opened.
type reader struct{ *bytes.Reader }

// Close implements io.Closer; there is nothing to release.
func (reader) Close() error { return nil }

func generate(x Spec) made {
	if x.Text != "" {
		sum := sha256.Sum256([]byte(x.Text))
		return made{data: []byte(x.Text), image: rack.Image{Name: x.Name, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(x.Text))}}
	}
	data := make([]byte, x.Size)
	payload := data
	switch {
	case x.ONIE:
		payload = data[len(header(x.Version, nil)):]
	case x.Version != "":
		payload = data[copy(data, swiVersion+x.Version+"\n"):]
	}
	noise(x.Name, payload)
	if x.ONIE {
		sum := sha256.Sum256(payload)
		copy(data, header(x.Version, sum[:]))
	}
	sum := sha256.Sum256(data)
	return made{data: data, image: rack.Image{Name: x.Name, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}}
}

// noise fills p with ChaCha8, seeded by the name's SHA-256.
func noise(name string, p []byte) {
	r := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, r.Uint64())
	}
	var last [8]byte
	binary.LittleEndian.PutUint64(last[:], r.Uint64())
	copy(p, last[:])
}

// header is the shell part of an installer; its length does not depend on the
// digest.
func header(version string, digest []byte) []byte {
	if version != "" {
		version = Version + version + "\n"
	}
	hexed := make([]byte, 2*sha256.Size)
	hex.Encode(hexed, append(digest, make([]byte, sha256.Size-len(digest))...))
	return slices.Concat([]byte(Shebang), []byte("# rackreach simulated installer: it installs on nothing\n"), []byte(version),
		[]byte(PayloadDigest), hexed, []byte("\nexit 1\n"), []byte(Archive))
}
