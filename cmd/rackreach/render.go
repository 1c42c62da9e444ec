package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/secret"
)

// renderBase stands for where a device finds its files; each ticket has its own.
const renderBase = "http://agent/native/TOKEN"

func newRender(env func(string) (string, bool)) *cobra.Command {
	var file, stateDir string
	var images bundling
	cmd := &cobra.Command{
		Use:   "render FILE DEVICE",
		Short: "Show what a device is configured with, or what its installer is answered",
		Long: `Show a file that a device is configured with over SSH, or that its system asks for at its
first boot, as the templates of its platform make it of the rack file; or a file that the installer of a device reads instead of asking a person, as the
agent fills it in from the rack file (install: of the device): boot.cfg and ks.cfg for
ESXi, ks.cfg for Anaconda, preseed.cfg for Debian, user-data and meta-data for Ubuntu,
and those that cloud-init in a disk image reads (seed:).

What only a ticket can say is stood in for: its token, its run. The hash of a password
is never shown. --bundle brings the template that the device names, and the boot.cfg of
an ESXi.`,
		Example: `  rackreach render rack.yaml tor-1
  rackreach render rack.yaml server-01
  rackreach render rack.yaml server-01 --file disk.sh
  rackreach render rack.yaml esx-01 --file boot.cfg --bundle images`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if err := images.check(); err != nil {
				return err
			}
			r, known, err := loadKnown(given[0], env)
			if err != nil {
				return err
			}
			d, err := deviceOf(r, given[1])
			if err != nil {
				return err
			}
			if ok, err := renderConfig(cmd.OutOrStdout(), r, d, known, file); ok {
				return err
			}
			if err := answered(d); err != nil {
				return err
			}
			home, err := homeOf(stateDir, env)
			if err != nil && images.place != "" {
				return err
			}
			from, err := images.open(cmd.Context(), home, images.opener(env), nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, from.close()) }()
			j := &answerfile.Job{Rack: r, Device: d.Name, Run: "RUN", Ticket: r.Name + "/" + d.Name + "/1", Base: renderBase}
			if file == "" {
				file = answerfile.Files(d.Install.Installer)[0]
			}
			if err := from.fill(cmd.Context(), j, d, file); err != nil {
				return err
			}
			text, err := j.Redacted(file)
			if err != nil {
				return badInput(err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "which of its files (default: the main one)")
	images.flags(cmd.Flags())
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

func deviceOf(r *rack.Rack, name string) (*rack.Device, error) {
	d, ok := r.Device(strings.TrimPrefix(name, r.Name+"/"))
	if !ok {
		return nil, badInput(fmt.Errorf("rack %s has no device %.80q: write one of %s", r.Name, name, deviceNames(r)))
	}
	return d, nil
}

// answered refuses a device that neither its system's own installer installs, nor whose
// image is told who it is.
func answered(d *rack.Device) error {
	if !d.Answered() && !d.Seeded() {
		return badInput(fmt.Errorf("%s is installed by rackreach itself, which needs no answer file: write install: into the rack file for its system's own installer, or seed: for cloud-init in its image (docs/images.md)", d.Name))
	}
	return nil
}

// fill adds to a job what of a file stands in the bundle.
func (c *chosen) fill(ctx context.Context, j *answerfile.Job, d *rack.Device, file string) (err error) {
	x := d.Install
	boots := x.Installer == rack.ESXi && file == "boot.cfg"
	if x.Template == "" && !boots {
		return nil
	}
	if c == nil {
		return badInput(fmt.Errorf("%s of %s is made from a file of the bundle: give --bundle", file, d.Name))
	}
	if x.Template != "" {
		if j.Template, err = c.ReadArtifact(ctx, x.Template, answerfile.MaxTemplate); err != nil {
			return badInput(fmt.Errorf("template of %s: %w", d.Name, err))
		}
	}
	if boots {
		if j.BootCfg, err = c.ReadArtifact(ctx, d.Image, answerfile.MaxTemplate); err != nil {
			return badInput(fmt.Errorf("boot.cfg of %s: %w", d.Name, err))
		}
		j.Folder = c.Below(path.Dir(d.Image))
	}
	return nil
}

// hashes resolves "env:NAME" of a rack file: a variable that holds the hash of a
// password. The secret stands in no error.
func hashes(env func(string) (string, bool)) func(reference string) (answerfile.Secret, error) {
	return func(reference string) (answerfile.Secret, error) {
		v, err := secret.Reader{Env: env}.Read(reference)
		if err != nil {
			return answerfile.Secret{}, err
		}
		s, err := answerfile.ParseHash(v.Reveal())
		if err != nil {
			return answerfile.Secret{}, fmt.Errorf("%s: %w", reference, err)
		}
		return s, nil
	}
}

// checkHashes refuses a rack with a device whose answer file could not be made, before
// anything is begun.
func checkHashes(r *rack.Rack, env func(string) (string, bool)) error {
	for i := range r.Devices {
		x := r.Devices[i].Install
		if x == nil || x.PasswordHash == "" {
			continue
		}
		if _, err := hashes(env)(x.PasswordHash); err != nil {
			return badInput(fmt.Errorf("passwordHash of %s: %w\nNothing was begun", r.Devices[i].Name, err))
		}
	}
	return nil
}
