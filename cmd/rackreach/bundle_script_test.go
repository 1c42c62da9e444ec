package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rackreach/rackreach/internal/simimage"
)

// hurt puts one text for another into the files of a folder that hold it: DIR OLD NEW.
func hurt(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	done := false
	for _, name := range names {
		data, err := os.ReadFile(name)
		ts.Check(err)
		if bytes.Contains(data, []byte(args[1])) {
			done = true
			ts.Check(os.Chmod(name, 0o600))
			ts.Check(os.WriteFile(name, bytes.ReplaceAll(data, []byte(args[1]), []byte(args[2])), 0o600))
		}
	}
	if !done {
		ts.Fatalf("nothing to hurt in %s", args[0])
	}
}

// serveRegistry serves an OCI registry until the script ends, and sets REGISTRY.
func serveRegistry(ts *testscript.TestScript, _ bool, _ []string) {
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}

// simImages writes the small images of the simulation into files: DIR.
func simImages(ts *testscript.TestScript, _ bool, args []string) {
	images, err := simimage.New(simimage.Specs())
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, name := range images.Names() {
		if !strings.HasSuffix(name, "-small") {
			continue
		}
		r, _, err := images.Open(name)
		ts.Check(err)
		b, err := io.ReadAll(r)
		ts.Check(errors.Join(err, r.Close(), os.WriteFile(filepath.Join(dir, name), b, 0o644)))
	}
}
