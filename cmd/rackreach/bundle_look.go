package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackreach/rackreach/internal/bundle"
)

// shownBundle is a release for scripts.
type shownBundle struct {
	Release   string          `json:"release"`
	Digest    string          `json:"digest"`
	Size      int64           `json:"size"` // bytes of the artifacts
	SignedBy  []string        `json:"signedBy"`
	Artifacts []shownArtifact `json:"artifacts"`
}

type shownArtifact struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Platforms []string `json:"platforms"` // empty: all
	Digest    string   `json:"digest"`
	Size      int64    `json:"size"`
	RawDigest string   `json:"rawDigest,omitempty"`
	RawSize   int64    `json:"rawSize,omitempty"`
	Frames    string   `json:"frames,omitempty"`
}

func shownOf(b *bundle.Bundle, keys []string) shownBundle {
	s := shownBundle{Release: b.Name, Digest: string(b.Ref.Digest), Size: b.Size(), SignedBy: append([]string{}, keys...), Artifacts: []shownArtifact{}}
	for _, a := range b.Artifacts {
		x := shownArtifact{Name: a.Name, Kind: string(a.Kind), Platforms: append([]string{}, a.Platforms...), Digest: string(a.Digest), Size: a.Size}
		if d := a.Disk; d != nil {
			x.RawDigest, x.RawSize, x.Frames = string(d.RawDigest), d.RawSize, string(d.Frames)
		}
		s.Artifacts = append(s.Artifacts, x)
	}
	return s
}

func newBundleInspect(env func(string) (string, bool)) *cobra.Command {
	var release, output string
	var n network
	cmd := &cobra.Command{
		Use:   "inspect BUNDLE",
		Short: "Show what a release holds",
		Long: `Show the artifacts of a release, and which keys say that they signed it; bundle verify
checks whether they did. A tar is read in place.`,
		Example: `  rackreach bundle inspect images
  rackreach bundle inspect images.tar -o json`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if output != "table" && output != "json" {
				return badInput(fmt.Errorf("-o %q is not an output: write -o table or -o json", output))
			}
			b, err := found(cmd.Context(), given[0], release, n.access(env))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Place.Close()) }()
			keys, err := b.Claims(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(shownOf(b, keys))
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			say := &printer{w: tw}
			say.line("release %s, %s, %s", b.Name, b.Ref.Digest, bundle.Bytes(b.Size()))
			if len(keys) == 0 {
				say.line("not signed")
			}
			for _, k := range keys {
				say.line("signed by key %s, it says", k)
			}
			say.line("NAME\tKIND\tFOR\tSIZE\tDIGEST")
			for _, a := range b.Artifacts {
				say.line("%s", artifactLine(a))
			}
			return errors.Join(say.err, tw.Flush())
		},
	}
	releaseFlag(cmd, &release)
	n.flags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func newBundleVerify(env func(string) (string, bool)) *cobra.Command {
	var release, stateDir string
	var trust []string
	var n network
	cmd := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check who signed a release, and every byte of it",
		Long: `Check that a trusted key has signed a release, and that every artifact is what the
release says, disk images down to each frame. Keys are trusted that --trust names, a
file or a folder of files *.pub; else those in the folder trust of the state directory.`,
		Example: `  rackreach bundle verify images
  rackreach bundle verify images.tar --trust release.key.pub`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			t, err := trusted(trust, stateDir, env)
			if err != nil {
				return err
			}
			b, err := found(cmd.Context(), given[0], release, n.access(env))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Place.Close()) }()
			by, err := b.Signer(cmd.Context(), t)
			if err != nil {
				return err
			}
			damaged, err := b.CheckBlobs(cmd.Context())
			if err != nil {
				return err
			}
			if len(damaged) > 0 {
				say := &printer{w: cmd.ErrOrStderr()}
				for _, d := range damaged {
					say.line("%v", d)
				}
				return errors.Join(say.err, fmt.Errorf("%s: release %s was altered or is damaged: %d of %d artifacts are not what was signed. Next: do not use it; rackreach bundle pull it again from where it came", b.Place, b.Name, len(damaged), len(b.Artifacts)))
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("release %s, %s: signed by key %s (%s), %d artifacts are what was signed", b.Name, b.Ref.Digest, by.ID, by.File, len(b.Artifacts))})
		},
	}
	releaseFlag(cmd, &release)
	n.flags(cmd.Flags())
	trustFlag(cmd.Flags(), &trust)
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

func trustFlag(f *pflag.FlagSet, trust *[]string) {
	f.StringArrayVar(trust, "trust", nil, "public key, or folder of keys *.pub, whose signatures count; may be given more than once (default: the folder trust of the state directory)")
}

// trusted is whose signatures count.
func trusted(paths []string, stateDir string, env func(string) (string, bool)) (bundle.Trust, error) {
	if len(paths) == 0 {
		home, err := homeOf(stateDir, env)
		if err != nil {
			return bundle.Trust{}, err
		}
		paths = []string{home.Trust()}
	} else if err := trustThere(paths); err != nil {
		return bundle.Trust{}, err
	}
	t, err := bundle.ReadTrust(paths...)
	if err != nil {
		return t, badInput(err)
	}
	return t, nil
}

// trustThere refuses a place of --trust that is not there: who slipped in its name
// must not be told that nobody is trusted.
func trustThere(paths []string) error {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return badInput(fmt.Errorf("--trust: %w: give a public key, or a folder of keys *.pub, that is there", err))
		}
	}
	return nil
}
