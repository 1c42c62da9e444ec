package rackagent

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
)

// native knows what the devices read that are installed by their own systems'
// installers.
type native struct {
	rack   *rack.Rack
	images boot.Images
	// hash resolves a reference of the rack file to the hash of a password; nil: none
	// can be resolved.
	hash func(reference string) (answerfile.Secret, error)
	log  *slog.Logger // why a file could not be made; never the file

	logins   logins
	imageURL func(boot.Ticket) string // of the image of a ticket
}

var _ boot.Native = (*native)(nil)

// folders is what a store of images may know besides: what is kept together.
type folders interface{ Below(folder string) []string }

// maxSmall bounds what is read of an artifact that is filled in or rewritten, in bytes.
const maxSmall = answerfile.MaxTemplate

// kernelFile is the name of its kernel to a Linux installer.
const kernelFile = "kernel"

// Boots implements boot.Native.
func (n *native) Boots(t boot.Ticket, base string) (loader, kernel string, args []string, err error) {
	d, err := n.device(t)
	switch {
	case err != nil:
		return "", "", nil, err
	case d.Install.Installer == rack.ESXi:
		return answerfile.MBoot, "", nil, nil
	}
	j := n.bare(t, base)
	return "", kernelFile, j.Args(), nil
}

// File implements boot.Native. ESXi asks for its ks.cfg when all that it boots from
// is loaded.
func (n *native) File(t boot.Ticket, base, name string) ([]byte, rack.Evidence, error) {
	b, shows, err := n.file(t, base, name)
	if err != nil && !errors.Is(err, boot.ErrNoFile) {
		n.log.Error("an answer file cannot be made", "device", t.Device, "ticket", t.ID, "file", name, "cause", err)
	}
	return b, shows, err
}

func (n *native) file(t boot.Ticket, base, name string) ([]byte, rack.Evidence, error) {
	if b, err := n.document(t, base, name); !errors.Is(err, boot.ErrNoFile) {
		return b, rack.NoEvidence, err
	}
	d, err := n.device(t)
	if err != nil {
		return nil, rack.NoEvidence, err
	}
	if !slices.Contains(answerfile.Files(d.Install.Installer), name) {
		return nil, rack.NoEvidence, boot.ErrNoFile
	}
	j := n.bare(t, base)
	if err := n.fill(j, d); err != nil {
		return nil, rack.NoEvidence, err
	}
	b, err := j.File(name)
	shows := rack.NoEvidence
	if d.Install.Installer == rack.ESXi && name == answerfile.Files(rack.ESXi)[0] {
		shows = rack.FetchedImage
	}
	return b, shows, err
}

// Artifact implements boot.Native.
func (n *native) Artifact(t boot.Ticket, name string) (string, rack.Evidence, error) {
	d, err := n.device(t)
	switch {
	case err != nil:
		return "", rack.NoEvidence, err
	case d.Install.Installer != rack.ESXi && name == kernelFile:
		return d.Install.Kernel, rack.NoEvidence, nil
	case d.Install.Installer != rack.ESXi:
		return "", rack.NoEvidence, boot.ErrNoFile
	}
	shows, wanted := rack.NoEvidence, name
	switch name { // as ESXi's ISO keeps them (ESXi Installation and Setup, "Network Booting")
	case answerfile.MBoot:
		shows, wanted = rack.FetchedBootLoader, "efi/boot/bootx64.efi"
	case "crypto64.efi":
		wanted = "efi/boot/crypto64.efi"
	}
	folder := path.Dir(d.Image)
	for _, kept := range n.below(folder) {
		if strings.EqualFold(kept, wanted) {
			return folder + "/" + kept, shows, nil
		}
	}
	return "", rack.NoEvidence, boot.ErrNoFile
}

func (n *native) below(folder string) []string {
	if f, ok := n.images.(folders); ok {
		return f.Below(folder)
	}
	return nil
}

// device is that of a ticket.
func (n *native) device(t boot.Ticket) (*rack.Device, error) {
	d, ok := n.rack.Device(t.Device)
	if !ok || !d.Answered() {
		return nil, fmt.Errorf("%s is not installed by its system's own installer: %w", t.Device, boot.ErrNoFile)
	}
	return d, nil
}

// bare is the job of a ticket without what must be fetched for it.
func (n *native) bare(t boot.Ticket, base string) *answerfile.Job {
	return &answerfile.Job{Rack: n.rack, Device: t.Device, Ticket: t.ID, Run: t.Run, Base: base, Overwrites: t.Overwrites}
}

// fill adds that. The reference to a secret is resolved for each file anew, and what
// it stands for is kept nowhere.
func (n *native) fill(j *answerfile.Job, d *rack.Device) (err error) {
	x := d.Install
	if x.PasswordHash != "" {
		if n.hash == nil {
			return fmt.Errorf("passwordHash of %s: this agent resolves no references", d.Name)
		}
		if j.PasswordHash, err = n.hash(x.PasswordHash); err != nil {
			return fmt.Errorf("passwordHash of %s: %w", d.Name, err)
		}
	}
	if x.Template != "" {
		if j.Template, err = n.read(x.Template); err != nil {
			return fmt.Errorf("template of %s: %w", d.Name, err)
		}
	}
	if x.Installer == rack.ESXi {
		if j.BootCfg, err = n.read(d.Image); err != nil {
			return fmt.Errorf("boot.cfg of %s: %w", d.Name, err)
		}
		j.Folder = n.below(path.Dir(d.Image))
	}
	return nil
}

// read is the whole of a small artifact.
func (n *native) read(name string) (_ []byte, err error) {
	f, _, err := n.images.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("%s has more than %d bytes", name, maxSmall)
	}
	return b, err
}
