// Package state is the directory in which rackreach keeps what must outlive a
// process: per rack its journal, the plan that its run carries out, the secret
// of its tickets, and the socket of its agent; and the plans that were shown.
//
//	DIR/racks/RACK/journal.db   the journal (internal/journal)
//	DIR/racks/RACK/plan.json    what the run carries out; written before its first event
//	DIR/racks/RACK/secret       of the tickets' tokens
//	DIR/racks/RACK/epoch        whose turn it is to write the rack's history, as a coordinator said
//	DIR/racks/RACK/siblings     the addresses that agents of other racks answer DHCP from, as a coordinator said
//	DIR/racks/RACK/leases       the addresses that its DHCP service acknowledged (discovery/lease)
//	DIR/racks/RACK/hostkeys     the SSH keys that its devices showed at first contact (internal/ssh)
//	DIR/racks/RACK/cache/       images that came from elsewhere (internal/blob)
//	DIR/racks/RACK/api.sock     of the agent that drives the rack (internal/api)
//	DIR/simulated/RACK.sock     of a simulated rack
//	DIR/adopting/RACK           the state of a rack that is taken over, until it is whole
//	DIR/aside/RACK-TIME         the state that stood in the place of one that was taken over
//	DIR/identities/RACK         key and certificate of the rack's agent (internal/pki)
//	DIR/trust/*.pub             public keys whose bundles are trusted (internal/bundle)
//	DIR/coordinator.sock        of a coordinator on this machine
//	DIR/coordinator/            what a coordinator keeps
//	DIR/coordinator/depot       the bundle that it hands out to agents (internal/depot)
//	DIR/plans/HASH.json         plans that were shown, to tell what changed since
//
// Every file is written whole or not at all. Only its owner may read it.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Home is a state directory.
type Home string

// Default is the state directory of whoever calls: $RACKREACH_STATE, else
// $STATE_DIRECTORY, which systemd sets to /var/lib/rackreach for a service with
// StateDirectory=rackreach, else rackreach under $XDG_STATE_HOME or
// ~/.local/state.
func Default(env func(string) (string, bool)) (Home, error) {
	if d, ok := env("RACKREACH_STATE"); ok && d != "" {
		return Home(d), nil
	}
	if d, ok := env("STATE_DIRECTORY"); ok && d != "" {
		return Home(d), nil
	}
	if d, ok := env("XDG_STATE_HOME"); ok && filepath.IsAbs(d) {
		return Home(filepath.Join(d, "rackreach")), nil
	}
	if d, ok := env("HOME"); ok && filepath.IsAbs(d) {
		return Home(filepath.Join(d, ".local", "state", "rackreach")), nil
	}
	return "", errors.New("no place to keep state: neither RACKREACH_STATE nor HOME is set: give --state DIR")
}

// Rack is the directory of one rack.
func (h Home) Rack(name string) Dir { return Dir(filepath.Join(string(h), "racks", name)) }

// Simulated is the socket of a simulated rack.
func (h Home) Simulated(rack string) string {
	return filepath.Join(string(h), "simulated", rack+".sock")
}

// Coordinator is the socket of a coordinator on this machine.
func (h Home) Coordinator() string { return filepath.Join(string(h), "coordinator.sock") }

// Identity is where the agent of a rack keeps its key and certificate. It stays when
// the rack's own directory is replaced.
func (h Home) Identity(rack string) string { return filepath.Join(string(h), "identities", rack) }

// Trust is where the public keys are whose bundles are trusted.
func (h Home) Trust() string { return filepath.Join(string(h), "trust") }

// Depot is the directory of the bundle that a coordinator hands out.
func (h Home) Depot() string { return filepath.Join(h.CoordinatorDir(), "depot") }

// CoordinatorDir is what a coordinator keeps.
func (h Home) CoordinatorDir() string { return filepath.Join(string(h), "coordinator") }

// Racks lists the racks that have a journal here, sorted.
func (h Home) Racks() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(h), "racks"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for racks in the state directory: %w", err)
	}
	var out []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(string(h.Rack(e.Name())), "journal.db")); err == nil {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Dir is the directory of one rack.
type Dir string

// Socket is the path of its agent's API.
func (d Dir) Socket() string { return filepath.Join(string(d), "api.sock") }

// Leases is the path of what its DHCP service has acknowledged.
func (d Dir) Leases() string { return d.file("leases") }

// HostKeys is the path of the SSH host keys that installed devices showed first.
func (d Dir) HostKeys() string { return d.file("hostkeys") }

// Cache is where the agent of the rack keeps images that come from elsewhere.
func (d Dir) Cache() string { return filepath.Join(string(d), "cache") }

func (d Dir) file(name string) string { return filepath.Join(string(d), name) }
