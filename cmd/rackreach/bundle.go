package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/bundle"
)

func newBundle(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Make, sign, check and move bundles: the images of a release",
		Long: `A bundle holds what is installed: boot files, kernels, installers of switches, disk
images, templates, each by its digest. It is an OCI image layout, a directory or a
tar (docs/images.md). BUNDLE is the path of one, HOST/NAME:RELEASE of an OCI registry, or
the URL of a bundle's directory on a web server.`,
		Example: `  rackreach bundle init images
  rackreach bundle add images --release 2026.3 --kind disk-image --name debian-13 debian-13.raw
  rackreach bundle keygen release.key
  rackreach bundle sign images --key release.key
  rackreach bundle push images registry.example.net/acme/images
  rackreach bundle pull images images.tar`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBundleInit(), newBundleAdd(env), newBundleBuild(), newBundleInspect(env), newBundleVerify(env),
		newBundleKeygen(), newBundleSign(), newBundlePull(env), newBundlePush(env), newBundleGC(), newBundleInstaller())
	return cmd
}

func newBundleInit() *cobra.Command {
	return &cobra.Command{
		Use: "init DIR", Short: "Make an empty bundle", Example: "  rackreach bundle init images", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			l, err := bundle.Init(cmd.Context(), given[0])
			if err != nil {
				return badInput(err)
			}
			if err := l.Close(); err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{given[0] + ": an empty bundle. Next: rackreach bundle add " + given[0] + " --release NAME --kind KIND FILE"})
		},
	}
}

// unfit is bad input where what was given is to blame, and not a disk or a network.
func unfit(err error) error {
	var u *bundle.Unfit
	if errors.As(err, &u) {
		return badInput(err)
	}
	return err
}

// adding is what bundle add is told.
type adding struct {
	release, kind, name, frames string
	platforms                   []string
}

func newBundleAdd(env func(string) (string, bool)) *cobra.Command {
	var a adding
	cmd := &cobra.Command{
		Use:   "add DIR FILE...",
		Short: "Add files to a release of a bundle",
		Long: `Add files to a release, which begins with its first one. An artifact of the same name
is replaced. A disk image is a raw one; it is kept as zstd in frames that can be fetched
and checked each by itself. Of a directory every file is added, by its path in it.`,
		Example: `  rackreach bundle add images --release 2026.3 --kind disk-image --name debian-13 --platform linux-server debian-13.raw
  rackreach bundle add images --release 2026.3 --kind nos-installer --name sonic onie-installer.bin
  rackreach bundle add images --release 2026.3 --kind boot-file --name esxi-8 esxi-iso/`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error { return a.run(cmd, env, given[0], given[1:]) },
	}
	f := cmd.Flags()
	f.StringVar(&a.release, "release", "", "name of the release, such as 2026.3; required")
	f.StringVar(&a.kind, "kind", "", "boot-file, kernel, initramfs, nos-installer, disk-image or template; required")
	f.StringVar(&a.name, "name", "", "name of the artifact, as rack files say it (default: that of the file)")
	f.StringArrayVar(&a.platforms, "platform", nil, "platform that it is for; may be given more than once (default: all)")
	f.StringVar(&a.frames, "frame-size", "8MiB", "raw bytes of a disk image's frame, 4MiB to 16MiB")
	return cmd
}

func (a *adding) inputs(files []string) ([]bundle.Input, error) {
	size, ok := bundle.ParseFrameSize(a.frames)
	switch {
	case a.release == "" || a.kind == "":
		return nil, badInput(errors.New("bundle add: give --release NAME and --kind KIND"))
	case a.name != "" && len(files) > 1:
		return nil, badInput(errors.New("bundle add: --name goes with one file: add them one by one"))
	case !ok:
		return nil, badInput(fmt.Errorf("--frame-size %s: write 4MiB to 16MiB", a.frames))
	}
	var out []bundle.Input
	for _, f := range files {
		name := a.name
		if name == "" {
			name = filepath.Base(filepath.Clean(f))
		}
		out = append(out, bundle.Input{Path: f, Name: name, Kind: bundle.Kind(a.kind), Platforms: a.platforms, FrameSize: size})
	}
	return out, nil
}

func (a *adding) run(cmd *cobra.Command, env func(string) (string, bool), dir string, files []string) (err error) {
	inputs, err := a.inputs(files)
	if err != nil {
		return err
	}
	if err := bundle.CheckRelease(a.release); err != nil {
		return badInput(err)
	}
	ctx := cmd.Context()
	l, err := bundle.OpenLayout(ctx, dir)
	if err != nil {
		return badInput(err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r := &bundle.Release{Name: a.release}
	before, err := bundle.Find(ctx, l, a.release)
	switch {
	case err == nil:
		r = before.Release
	case !errors.Is(err, bundle.ErrNoRelease):
		return err
	}
	added, err := l.Add(ctx, inputs...)
	if err != nil {
		return unfit(err)
	}
	b, err := l.SetRelease(ctx, r.With(added...))
	if err != nil {
		return err
	}
	a.warn(cmd, env)
	say := &printer{w: cmd.OutOrStdout()}
	for _, x := range added {
		say.line("%s", artifactLine(x))
	}
	say.line("release %s is %s now. Next: rackreach bundle sign %s --key FILE", b.Name, b.Ref.Digest, dir)
	return say.err
}

// warn tells of platforms that are not known here: they may be on the machine that
// images, or somebody slipped.
func (a *adding) warn(cmd *cobra.Command, env func(string) (string, bool)) {
	set, err := platformsOf(env)
	if err != nil {
		return // it has nothing to do with the bundle
	}
	for _, name := range a.platforms {
		if _, known := set.Definition(name); !known {
			cmd.PrintErrf("warning: no platform %s is known here: devices of no other get what was added. If that is a slip, add it again; rackreach platform list names those that are known, with --platforms your own\n", name)
		}
	}
}

func newBundleBuild() *cobra.Command {
	return &cobra.Command{
		Use:   "build FILE TO",
		Short: "Make a release as a bundle file says it",
		Long: `Make a release of what a bundle file names, in a directory, which may hold other
releases, or as a tar when the name ends in .tar. The same files make the same digest.

  apiVersion: rackreach/v1
  kind: Bundle
  name: "2026.3"
  artifacts:
    - {name: debian-13, kind: disk-image, file: debian-13.raw, platforms: [linux-server]}
    - {name: esxi-8, kind: boot-file, file: esxi-iso/}`,
		Example: `  rackreach bundle build images.yaml images
  rackreach bundle build images.yaml images.tar`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			f, err := bundle.ReadFile(given[0])
			if err != nil {
				return badInput(fmt.Errorf("%w\nNothing was made", err))
			}
			b, err := bundle.Build(cmd.Context(), f, given[1])
			if err != nil {
				return unfit(err)
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("release %s, %d artifacts, is %s\nNext: rackreach bundle sign %s --key FILE", b.Name, len(b.Artifacts), b.Ref.Digest, given[1])})
		},
	}
}

func newBundleKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key that signs bundles, and its public half",
		Long: `Make an Ed25519 key in FILE, which only its owner can read, and its public half in
FILE.pub. Whoever is to trust bundles signed with it puts FILE.pub into the folder
trust of their state directory, or names it with --trust.`,
		Example: "  rackreach bundle keygen release.key",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			k, err := bundle.NewKey(given[0])
			if err != nil {
				return unfit(err)
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("key %s: keep %s secret, give %s to those who are to trust it", k.ID, given[0], k.File)})
		},
	}
}

func newBundleSign() *cobra.Command {
	var key, release string
	cmd := &cobra.Command{
		Use: "sign DIR --key FILE", Short: "Sign a release of a bundle", Example: "  rackreach bundle sign images --key release.key", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if key == "" {
				return badInput(errors.New("bundle sign: give --key FILE; rackreach bundle keygen FILE makes one"))
			}
			k, err := bundle.ReadKey(key)
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("--key: %w: give the key that rackreach bundle keygen made", err)
			}
			if err != nil {
				return badInput(err)
			}
			l, err := bundle.OpenLayout(cmd.Context(), given[0])
			if err != nil {
				return badInput(err)
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			b, err := bundle.Find(cmd.Context(), l, release)
			if err != nil {
				return badInput(err)
			}
			p, err := l.Sign(cmd.Context(), b, k)
			if err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("release %s, %s, is signed by key %s", b.Name, b.Ref.Digest, p.ID)})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file with the key; required")
	releaseFlag(cmd, &release)
	return cmd
}

func releaseFlag(cmd *cobra.Command, release *string) {
	cmd.Flags().StringVar(release, "release", "", "name of the release (default: the only one that is there)")
}

func newBundleGC() *cobra.Command {
	var drop []string
	cmd := &cobra.Command{
		Use: "gc DIR", Short: "Remove what no release refers to", Args: args(cobra.ExactArgs(1)),
		Long: `Remove blobs that no release refers to: those of artifacts that were replaced, and what
pulls that broke off have left. Agents that serve from the directory keep what they
have opened.`,
		Example: `  rackreach bundle gc images
  rackreach bundle gc images --drop 2026.2`,
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			l, err := bundle.OpenLayout(cmd.Context(), given[0])
			if err != nil {
				return badInput(err)
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			c, err := l.Collect(cmd.Context(), drop...)
			if err != nil {
				return unfit(err)
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("%d blobs removed, %s in all", c.Blobs, bundle.Bytes(c.Bytes))})
		},
	}
	cmd.Flags().StringArrayVar(&drop, "drop", nil, "drop this release first; may be given more than once")
	return cmd
}

// artifactLine is an artifact for people.
func artifactLine(a bundle.Artifact) string {
	for_ := "all platforms"
	if len(a.Platforms) > 0 {
		for_ = strings.Join(slices.Clone(a.Platforms), ", ")
	}
	size := bundle.Bytes(a.Size)
	if a.Disk != nil {
		size += " of " + bundle.Bytes(a.Disk.RawSize) + " raw"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", a.Name, a.Kind, for_, size, a.Digest.Short())
}
