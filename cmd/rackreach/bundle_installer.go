package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/initramfs"
)

// installing is what bundle build-installer is told.
type installing struct {
	initramfs.Options
	to string
}

func newBundleInstaller() *cobra.Command {
	var o installing
	cmd := &cobra.Command{
		Use:   "build-installer --kernel FILE --modules DIR --output DIR",
		Short: "Make the installer that machines boot, of a distribution's kernel",
		Long: `Make the small system that machines boot from the network to be installed: a kernel and
an initramfs with rackreach's installer and the kernel's modules for disks, network and
file systems. Kernel and modules are those of a distribution, such as Debian's
linux-image-amd64 or linux-image-cloud-amd64. The same files make the same bytes.`,
		Example: "  rackreach bundle build-installer --kernel /boot/vmlinuz-6.1.0-42-amd64 --modules /lib/modules/6.1.0-42-amd64 --output installer",
		Args:    args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Kernel, "kernel", "", "file with the kernel; required")
	f.StringVar(&o.Modules, "modules", "", "directory of its modules, lib/modules/VERSION; required")
	f.StringVar(&o.Init, "init", "", "the program rackreach-init (default: beside rackreach itself)")
	f.StringVar(&o.to, "output", "", "directory for the two files; required")
	return cmd
}

func (o *installing) run(cmd *cobra.Command) error {
	if o.Kernel == "" || o.Modules == "" || o.to == "" {
		return badInput(errors.New("bundle build-installer: give --kernel FILE, --modules DIR and --output DIR"))
	}
	if o.Init == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Init = filepath.Join(filepath.Dir(self), "rackreach-init")
	}
	if err := os.MkdirAll(o.to, 0o755); err != nil {
		return err
	}
	var built initramfs.Built
	made, err := o.make(bundle.InstallerInitramfs, func(w io.Writer) (err error) {
		built, err = initramfs.Build(cmd.Context(), w, o.Options)
		return err
	})
	if errors.Is(err, initramfs.ErrInput) {
		return badInput(err)
	}
	if err != nil {
		return err
	}
	kernel, err := o.make(bundle.InstallerKernel, func(w io.Writer) error { return copyFile(cmd.Context(), w, o.Kernel) })
	if err != nil {
		return err
	}
	say := &printer{w: cmd.OutOrStdout()}
	say.line("%s\t%s", kernel, "kernel "+built.Version)
	say.line("%s\t%d modules, %s unpacked", made, built.Modules, bundle.Bytes(built.Size))
	say.line("Next: rackreach bundle add BUNDLE --release NAME --kind kernel %s", filepath.Join(o.to, bundle.InstallerKernel))
	say.line("      rackreach bundle add BUNDLE --release NAME --kind initramfs %s", filepath.Join(o.to, bundle.InstallerInitramfs))
	return say.err
}

// make writes a file of the output whole or not at all, and describes it.
func (o *installing) make(name string, write func(io.Writer) error) (line string, err error) {
	f, err := os.CreateTemp(o.to, "."+name+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h := sha256.New()
	err = write(io.MultiWriter(f, h))
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(f.Name(), filepath.Join(o.to, name)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s\tsha256:%s", filepath.Join(o.to, name), hex.EncodeToString(h.Sum(nil))), nil
}

// copyFile copies a file that is not changed meanwhile.
func copyFile(ctx context.Context, w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return errors.Join(err, f.Close(), ctx.Err())
}
