package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// unpack unpacks a support bundle: unpack ARCHIVE DIR.
func unpack(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close() //nolint:errcheck // it was only read
	z, err := gzip.NewReader(f)
	ts.Check(err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		ts.Check(err)
		if !filepath.IsLocal(h.Name) {
			ts.Fatalf("%s leads out of the archive", h.Name)
		}
		path := filepath.Join(ts.MkAbs(args[1]), h.Name)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
		b, err := io.ReadAll(r)
		ts.Check(err)
		ts.Check(os.WriteFile(path, b, 0o600))
	}
}

// holdsNo fails when a file below a directory holds one of the words, the secret of a
// rack's tickets, or the token of a ticket: holdsno DIR STATE RACK WORD….
func holdsNo(ts *testscript.TestScript, neg bool, args []string) {
	dir := state.Home(ts.MkAbs(args[1])).Rack(args[2])
	words := args[3:]
	secret := dir.TokenSecret()
	if len(secret) == 0 {
		ts.Fatalf("there is no secret in %s", dir)
	}
	words = append(words, string(secret))
	_, events, err := journal.Events(string(dir))
	ts.Check(err)
	tickets := 0
	for _, e := range events {
		if e.Kind == rack.TicketIssued {
			tickets++
			words = append(words, boot.Token(secret, e.Detail.Ticket))
		}
	}
	if tickets == 0 {
		ts.Fatalf("no ticket was issued in %s", dir)
	}
	found := ""
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) {
				found = path + " holds " + w
			}
		}
		return err
	}))
	if (found != "") != neg {
		ts.Fatalf("%s", found)
	}
}

func TestFetchMetrics(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			fmt.Fprintln(w, "rackreach_rack_state 1")
		case "/long":
			fmt.Fprint(w, strings.Repeat("x", maxMetrics+1))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	if b, err := fetchMetrics(t.Context(), s.URL+"/metrics"); err != nil || string(b) != "rackreach_rack_state 1\n" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := fetchMetrics(t.Context(), s.URL+"/long"); err != nil || len(b) != maxMetrics {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := fetchMetrics(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
}
