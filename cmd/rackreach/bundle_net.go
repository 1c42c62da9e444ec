package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackreach/rackreach/internal/bundle"
)

// network is how bundles on the network are reached, as the flags say.
type network struct {
	logins    string
	plainHTTP bool
}

func (n *network) flags(f *pflag.FlagSet) {
	f.StringVar(&n.logins, "registry-logins", "", "config.json of docker or oras with the logins of registries (default: that of docker)")
	f.BoolVar(&n.plainHTTP, "plain-http", false, "ask a registry that is on another machine without TLS, too")
}

// access makes of them what bundles are opened with.
func (n *network) access(env func(string) (string, bool)) bundle.Access {
	a := bundle.Access{Logins: n.logins, PlainHTTP: n.plainHTTP}
	if a.Logins == "" {
		if d, ok := env("DOCKER_CONFIG"); ok && d != "" {
			a.Logins = filepath.Join(d, "config.json")
		} else if d, ok := env("HOME"); ok && filepath.IsAbs(d) {
			a.Logins = filepath.Join(d, ".docker", "config.json")
		}
	}
	return a
}

// found opens a bundle and finds a release in it; the caller closes its place.
func found(ctx context.Context, place, release string, a bundle.Access) (*bundle.Bundle, error) {
	p, err := bundle.OpenPlace(ctx, place, a)
	if err != nil {
		return nil, badInput(err)
	}
	b, err := bundle.Find(ctx, p, release)
	if err != nil {
		return nil, errors.Join(badInput(err), p.Close())
	}
	return b, nil
}

func newBundlePull(env func(string) (string, bool)) *cobra.Command {
	var release string
	var n network
	cmd := &cobra.Command{
		Use:   "pull BUNDLE TO",
		Short: "Copy a release with its signatures to a directory or a tar",
		Long: `Copy a release with its signatures to a directory, which may hold others, or to a tar
when the name ends in .tar. BUNDLE is a directory, a tar, HOST/NAME:RELEASE of an OCI
registry, or the URL of a bundle's directory on a web server. What broke off goes on
when the same is done again.`,
		Example: `  rackreach bundle pull registry.example.net/acme/images:2026.3 images
  rackreach bundle pull images /media/stick/images.tar
  rackreach bundle pull /media/stick/images.tar images`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			b, err := found(cmd.Context(), given[0], release, n.access(env))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Place.Close()) }()
			if err := bundle.PullTo(cmd.Context(), b, given[1]); err != nil {
				return unfit(err)
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("release %s, %s, is in %s. Next: rackreach bundle verify %s", b.Name, b.Ref.Digest, given[1], given[1])})
		},
	}
	releaseFlag(cmd, &release)
	n.flags(cmd.Flags())
	return cmd
}

func newBundlePush(env func(string) (string, bool)) *cobra.Command {
	var release string
	var n network
	cmd := &cobra.Command{
		Use:   "push BUNDLE TO",
		Short: "Copy a release with its signatures to an OCI registry",
		Long: `Copy a release with its signatures to an OCI registry: TO is HOST/NAME, and the tag is
the name of the release. What the registry has already is not sent. Log in to it with
oras login or docker login. A registry on this machine is asked without TLS.`,
		Example: `  rackreach bundle push images registry.example.net/acme/images`,
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			b, err := found(cmd.Context(), given[0], release, n.access(env))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Place.Close()) }()
			where, err := bundle.Push(cmd.Context(), b, given[1], n.access(env))
			if err != nil {
				return unfit(err)
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("release %s, %s, is at %s", b.Name, b.Ref.Digest, where)})
		},
	}
	releaseFlag(cmd, &release)
	n.flags(cmd.Flags())
	return cmd
}
