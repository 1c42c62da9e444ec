package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// door is the agent's way to a coordinator.
type door struct {
	*bus.Client
	url string
	id  *pki.Identity // nil: it has no certificate of its own, or one by file
}

// door finds the coordinator, and gets this machine its certificate if a token was
// given. Nothing is sent to the coordinator besides.
func (a *agent) door(ctx context.Context, home state.Home) (_ *door, err error) {
	d := &door{url: a.coordinator}
	dir := home.Identity(a.rack)
	switch {
	case a.token != "":
		d.id, err = pki.Enroll(ctx, a.token, dir)
	case a.cert == "":
		if d.id, err = pki.LoadIdentity(dir); errors.Is(err, pki.ErrNoIdentity) {
			d.id, err = nil, nil
		}
	}
	if err != nil {
		return nil, badInput(err)
	}
	if d.id != nil && d.id.Rack() != a.rack {
		return nil, badInput(fmt.Errorf("the certificate in %s is of the agent of rack %s, not of %s: give --rack %s, or a token for %s", dir, d.id.Rack(), a.rack, d.id.Rack(), a.rack))
	}
	if d.url == "" {
		path, err := filepath.Abs(home.Coordinator())
		if err != nil {
			return nil, fmt.Errorf("find the coordinator's socket: %w", err)
		}
		d.url = "unix://" + path
		if d.id != nil {
			d.url = d.id.Server()
		}
	}
	config, err := a.trust(d)
	if err != nil {
		return nil, badInput(err)
	}
	if d.Client, err = bus.Dial(d.url, config); err != nil {
		return nil, badInput(fmt.Errorf("--coordinator: %w", err))
	}
	return d, nil
}

// trust is whom the agent trusts, and what it shows of itself; nil without TLS.
func (a *agent) trust(d *door) (*tls.Config, error) {
	u, err := url.Parse(d.url)
	if err != nil || u.Scheme != "https" {
		return nil, nil // bus.Dial says what is wrong with it
	}
	if d.id != nil {
		return d.id.ClientTLS(u.Hostname()), nil
	}
	if a.cert == "" || a.key == "" || a.ca == "" {
		return nil, fmt.Errorf("the coordinator at %s asks for a certificate: make a token with rackreach enroll --rack %s, and give it as --token; or give --tls-cert, --tls-key and --ca", d.url, a.rack)
	}
	pem, err := os.ReadFile(a.ca)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: %s holds no certificate in PEM", a.ca)
	}
	own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // read anew at every connection: whoever made it may replace it
		c, err := tls.LoadX509KeyPair(a.cert, a.key)
		return &c, err
	}
	if _, err := own(nil); err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, ServerName: u.Hostname(), RootCAs: pool, GetClientCertificate: own}, nil
}

// uplink keeps the agent connected to its coordinator until ctx ends.
func (a *agent) uplink(ctx context.Context, k *rackagent.Keeper, d *door, metrics string, log *slog.Logger) error {
	o := bus.UplinkOptions{Client: d.Client, LetGo: d.Close, Away: slog.LevelWarn}
	if a.coordinator == "" && d.id == nil {
		o.Away = slog.LevelDebug // nobody said that there is one
	}
	if d.id != nil {
		o.Explain = func(ctx context.Context, err error) error { return d.id.Explain(ctx, d.url, err) }
		renewing, stop := context.WithCancel(ctx)
		renewed := make(chan struct{})
		go func() { defer close(renewed); d.id.RenewLoop(renewing, func() string { return d.url }, log) }()
		defer func() { stop(); <-renewed }()
	}
	return k.Connect(ctx, &messages.Hello{Version: version(), MetricsAddress: metrics, ServerId: agentServerID}, o)
}
