package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/rackreach/rackreach/internal/pki"
)

// maxReplicas is the most copies that NATS keeps of a stream.
const maxReplicas = 5

// check says what is wrong with the flags, before anything is opened. secure: there
// are certificates.
func (k *coordinating) check(secure bool) error {
	if err := together([]given{{"--tls-cert", k.cert}, {"--tls-key", k.key}, {"--agent-ca", k.agentCA}}); err != nil {
		return badInput(err)
	}
	if k.cert != "" {
		if err := (&pki.Files{Certificate: k.cert, Key: k.key, AgentCA: k.agentCA}).Check(); err != nil {
			return badInput(fmt.Errorf("--tls-cert, --tls-key, --agent-ca: %w", err))
		}
	}
	if k.url != "" {
		u, err := url.Parse(k.url)
		switch {
		case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
			return badInput(fmt.Errorf("--url %.200s: write https://HOST:PORT and nothing more", k.url))
		case !secure:
			return badInput(errors.New("--url: without certificates nobody else reaches this coordinator: rackreach coordinator init makes an authority, or give --tls-cert, --tls-key and --agent-ca"))
		}
	}
	return k.checkNATS()
}

func (k *coordinating) checkNATS() error {
	switch {
	case k.nats == "" && k.credentials != "":
		return badInput(errors.New("--nats-credentials goes with --nats: name the cluster, or leave it out"))
	case k.nats == "" && k.replicas != 0:
		return badInput(errors.New("--nats-replicas goes with --nats: name the cluster, or leave it out"))
	case k.replicas < 0 || k.replicas > maxReplicas:
		return badInput(fmt.Errorf("--nats-replicas %d: write 1 to %d, or leave it out for 3", k.replicas, maxReplicas))
	}
	if k.nats != "" {
		for server := range strings.SplitSeq(k.nats, ",") {
			server = strings.TrimSpace(server)
			if !strings.Contains(server, "://") {
				server = "nats://" + server
			}
			if u, err := url.Parse(server); err != nil || u.Hostname() == "" || !strings.Contains(" nats tls ws wss ", " "+u.Scheme+" ") {
				return badInput(fmt.Errorf("--nats %.200s: write the servers of a cluster, such as nats://n1:4222,nats://n2:4222", k.nats))
			}
		}
	}
	if k.credentials != "" {
		f, err := os.Open(k.credentials)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return badInput(fmt.Errorf("--nats-credentials: %w", err))
		}
	}
	return nil
}

// given is a flag that names a file; empty: it was not given.
type given struct{ flag, file string }

// together says which flags are missing of those that go together; nil when all or
// none were given.
func together(flags []given) error {
	var has, missing []string
	for _, f := range flags {
		if f.file == "" {
			missing = append(missing, f.flag)
		} else {
			has = append(has, f.flag)
		}
	}
	if len(has) == 0 || len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s: give %s as well: a certificate, its key and whom to trust go together", strings.Join(has, ", "), strings.Join(missing, " and "))
}
